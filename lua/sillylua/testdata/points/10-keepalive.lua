-- A renewal by hand: on a stream, once, and by adopting the lease.
local etcd = require "silly.store.etcd"
local client = etcd.newclient {endpoints = {"127.0.0.1:2379"}}
local id = client:grant {TTL = 60}.ID
local stream = assert(client:keepalive {ID = id})
print(stream:write {ID = id})
print(stream:read().TTL)
stream:write()
print(stream:read().ID == id)
stream:close()
print(stream:read())
print(client:keepalive_once {ID = id}.TTL)
local other = etcd.newclient {endpoints = {"127.0.0.1:2379"}}
print(other:keepalive(id).TTL, other:lease(id))
print(client:keepalive_once {ID = 12345})
