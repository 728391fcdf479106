-- One key, a prefix, keys without values, descending order, a limit, a count.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
for _, name in ipairs {"db/host", "db/port", "cache/host"} do
	assert(client:put {key = "config/" .. name, value = "of " .. name})
end
print(client:get {key = "config/db/host"}.kvs[1].value)
local db = client:get {key = "config/db/", prefix = true}
print(db.count, #db.kvs, db.more)
for _, kv in ipairs(client:get {key = "config/", prefix = true, keys_only = true}.kvs) do
	print(kv.key, "[" .. kv.value .. "]")
end
for _, kv in ipairs(client:get {key = "config/", prefix = true, sort_order = "DESCEND", sort_target = "KEY"}.kvs) do
	print(kv.key)
end
local limited = client:get {key = "config/", fromkey = true, limit = 1}
print(#limited.kvs, limited.more, limited.count)
local counted = client:get {key = "config/", prefix = true, count_only = true}
print(#counted.kvs, counted.count, #client:get {key = "nothing"}.kvs)
local nothing = client:get {key = "config/db/port", range_end = "config/db/host"} -- ends before it begins
print(#nothing.kvs, nothing.count, client:get {key = "config/db/host", range_end = "config/db/host"}.count)
