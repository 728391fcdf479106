-- What is left of a lease, and the keys on it.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local id = client:grant {TTL = 60}.ID
client:put {key = "s/1", value = "a", lease = id}
client:put {key = "s/2", value = "b", lease = id}
local res = client:ttl {ID = id, keys = true}
table.sort(res.keys)
print(res.ID == id, res.TTL <= 60 and res.TTL > 50, res.grantedTTL, table.concat(res.keys, " "))
print(#client:ttl {ID = id}.keys)
