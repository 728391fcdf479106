-- Failures are nil, a text and details; what cannot be meant is refused and named.
local etcd = require "silly.store.etcd"
local client = etcd.newclient {endpoints = {"127.0.0.1:2379"}, retry = 3, retry_sleep = 1000}
print(client:put {key = "test/key", value = "v"} ~= nil, client:grant {TTL = 60} ~= nil)
local nobody = etcd.newclient {endpoints = {"127.0.0.1:1"}, retry = 1, retry_sleep = 10, timeout = 2}
local res, err, details = nobody:put {key = "k", value = "v"}
print(res, err)
print(details.code, details.outcome, details.maybe_applied, details.temporary, details.attempts, details.endpoint)
res, err = nobody:grant {TTL = 60}
print(res, err)
for _, request in ipairs {
	{}, {key = "k"}, {key = {}, value = "v"}, {key = "k", value = "v", prevkv = true}, {key = "k", value = "v", lease = 1.5},
	{key = "k", value = "v", lease = 12345}, {key = "k", value = "v", 1}, {key = "k", value = "v", prev_kv = 1},
} do
	print((select(2, client:put(request))))
end
print((select(2, client:get {key = "k", sort_order = "UP"})))
print((select(2, client:get {key = "k", prefix = true, range_end = "z"})))
print((select(2, client:grant {TTL = 0})))
print((select(2, client:grant {ttl = 5})))
print(pcall(client.put, {key = "k"}))
print(pcall(client.put, client, "k"))
