-- A heartbeat's key lives for three TTLs, and its monitor sees one deletion at the revoke.
local ttl, wait = tonumber(arg[1]), tonumber(arg[2])
local silly = require "silly"
local task = require "silly.task"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local lease = client:grant {TTL = ttl}.ID
client:put {key = "/health/1", value = tostring(os.time()), lease = lease}
local deleted = false
local stream = client:watch {key = "/health/1"}
task.fork(function()
	while true do
		local res = stream:read()
		if not res then
			return print("monitor ends")
		end
		for _, event in ipairs(res.events) do
			print("monitor", event.type)
			deleted = deleted or event.type == "DELETE"
		end
	end
end)
silly.sleep(wait * 1000)
print("alive", #client:get {key = "/health/1"}.kvs)
client:revoke {ID = lease}
repeat silly.sleep(1) until deleted
print("gone", #client:get {key = "/health/1"}.kvs)
stream:close()
