-- A revoked lease takes its keys along.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local id = client:grant {TTL = 60}.ID
client:put {key = "k", value = "v", lease = id}
print(#client:get {key = "k"}.kvs)
print(client:revoke {ID = id}.header.revision > 0)
print(#client:get {key = "k"}.kvs)
print((select(2, client:revoke {ID = id})))
print(client:lease(id))
