-- A lease lives for three TTLs without anybody renewing it, and until it is revoked.
local ttl, wait = tonumber(arg[1]), tonumber(arg[2])
local silly = require "silly"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local lease = client:grant {TTL = ttl}.ID
client:put {key = "temp/data", value = "still here", lease = lease}
silly.sleep(wait * 1000)
print(client:get {key = "temp/data"}.kvs[1].value, client:ttl {ID = lease}.TTL >= 0)
client:revoke {ID = lease}
print(#client:get {key = "temp/data"}.kvs)
