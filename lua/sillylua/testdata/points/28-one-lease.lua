-- Many keys on one lease, of a size that a Lua number does not hold.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local id = tonumber "5928531940782320181"
local lease = assert(client:grant {TTL = 60, ID = id})
for i = 1, 3 do
	client:put {key = "/temp/user" .. i, value = "active", lease = lease.ID}
end
print(lease.ID, lease.ID == id, ({[id] = "found"})[lease.ID], string.format("%d %x", id, id))
print(client:get {key = "/temp/user1"}.kvs[1].lease == id, client:leases().leases[1].ID .. "")
print((select(2, client:grant {TTL = 60, ID = id})))
client:revoke {ID = lease.ID}
print(client:get {key = "/temp/", prefix = true}.count)
