-- A service registers, is found, and is gone when it revokes its lease.
local json = require "silly.encoding.json"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local lease = client:grant {TTL = 10}.ID
local key = string.format("/services/%s/%s:%d", "api", "192.0.2.1", 8080)
client:put {key = key, value = json.encode {host = "192.0.2.1", port = 8080}, lease = lease}
local function show()
	local res = client:get {key = "/services/api/", prefix = true}
	print("found", res.count)
	for _, kv in ipairs(res.kvs) do
		local info = json.decode(kv.value)
		print(kv.key, string.format("%s:%d", info.host, info.port))
	end
end
show()
client:revoke {ID = lease}
show()
