-- All leases are listed.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local mine = {[client:grant {TTL = 60}.ID] = "first", [client:grant {TTL = 120}.ID] = "second"}
local found = {}
for _, lease in ipairs(client:leases().leases) do
	found[#found + 1] = mine[lease.ID]
end
table.sort(found)
print(table.concat(found, " "))
