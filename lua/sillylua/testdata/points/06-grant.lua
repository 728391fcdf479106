-- A lease with a key outlives its TTL, since the client renews it.
local ttl, wait = tonumber(arg[1]), tonumber(arg[2])
local silly = require "silly"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local lease = assert(client:grant {TTL = ttl})
print("granted", math.type(lease.ID), type(lease.ID), lease.TTL == ttl)
client:put {key = "session", value = "active", lease = lease.ID}
silly.sleep(wait * 1000)
local kv = client:get {key = "session"}.kvs[1]
print("after its TTL", kv.value, kv.lease == lease.ID, client:lease(lease.ID))
