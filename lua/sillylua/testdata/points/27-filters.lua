-- Filtered watches see deletions only, or puts only.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local deletions = client:watch {key = "temp/", prefix = true, NOPUT = true}
local puts = client:watch {key = "temp/", prefix = true, filters = {"NODELETE"}}
client:put {key = "temp/a", value = "1"}
client:delete {key = "temp/a"}
client:put {key = "temp/b", value = "2"}
client:delete {key = "temp/b"}
local function show(stream)
	local seen = 0
	while seen < 2 do
		for _, event in ipairs(stream:read().events) do
			seen = seen + 1
			print(event.type, event.kv.key)
		end
	end
end
show(deletions)
show(puts)
