-- Three keys on one lease go with it.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local lease = client:grant {TTL = 60}.ID
for i = 1, 3 do
	client:put {key = "/temp/resource" .. i, value = "active", lease = lease}
end
print(client:get {key = "/temp/", prefix = true}.count)
client:revoke {ID = lease}
print(client:get {key = "/temp/", prefix = true}.count)
client:close()
print((select(2, client:get {key = "/temp/"})))
