-- A watch sees a put, another one, and a deletion, in order.
local task = require "silly.task"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local stream = assert(client:watch {key = "config/", prefix = true, prev_kv = true})
task.fork(function()
	client:put {key = "config/app", value = "v1"}
	client:put {key = "config/app", value = "v2"}
	client:delete {key = "config/app"}
end)
local seen = 0
while seen < 3 do
	for _, event in ipairs(assert(stream:read()).events) do
		seen = seen + 1
		print(event.type, event.kv.key, event.kv.value, event.prev_kv and event.prev_kv.value)
	end
end
print(stream:close(), stream:close(), (select(2, stream:read())))
