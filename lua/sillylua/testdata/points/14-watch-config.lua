-- A copy of a configuration follows changes that happen while it is loaded: the watch begins
-- after the revision of the list, so that nothing old overwrites anything new.
local waitgroup = require "silly.sync.waitgroup"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
client:put {key = "app/old", value = "0"}
local list = client:get {key = "app/", prefix = true}
local group = waitgroup.new()
group:fork(function()
	client:put {key = "app/timeout", value = "30"}
	client:put {key = "app/timeout", value = "60"}
	client:delete {key = "app/old"}
	client:put {key = "app/end", value = "."}
end)
group:wait()
local copy = {}
for _, kv in ipairs(list.kvs) do
	copy[kv.key] = kv.value
end
print("loaded", #list.kvs, copy["app/old"])
local stream = client:watch {key = "app/", prefix = true, revision = list.header.revision + 1}
while not copy["app/end"] do
	for _, event in ipairs(stream:read().events) do
		if event.type == "PUT" then
			copy[event.kv.key] = event.kv.value
		else
			copy[event.kv.key] = nil
		end
		print(event.type, event.kv.key, event.kv.value)
	end
end
print(copy["app/old"], copy["app/timeout"])
