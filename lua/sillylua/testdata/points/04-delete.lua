-- A deletion gives the old pair; one of a prefix gives the number.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
client:put {key = "temp/a", value = "1"}
client:put {key = "temp/b", value = "2"}
local one = client:delete {key = "temp/a", prev_kv = true}
print(one.deleted, one.prev_kvs[1].key, one.prev_kvs[1].value)
local rest = client:delete {key = "temp/", prefix = true}
print(rest.deleted, #rest.prev_kvs)
print(client:delete {key = "temp/"}.deleted)
print((select(2, client:delete {key = "", prefix = true})))
client:put {key = "temp/c", value = "3"}
print(client:delete {key = "temp/c", range_end = "temp/c"}.deleted, client:delete {key = "temp/c", range_end = "temp/a"}.deleted)
print(client:get {key = "temp/c"}.count)
