-- A hundred puts, and a compaction that keeps fifty; none where there are not as many.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local function keep(revisions)
	local oldest = client:get {key = "counter"}.header.revision - revisions
	if oldest <= 0 then
		return "nothing to compact"
	end
	assert(client:compact {revision = oldest, physical = true})
	return "compacted to " .. oldest
end
print(keep(50))
for i = 1, 100 do
	client:put {key = "counter", value = tostring(i)}
end
print(keep(50))
print((select(2, client:compact {revision = 3})))
print((select(2, client:compact {revision = 100000})))
