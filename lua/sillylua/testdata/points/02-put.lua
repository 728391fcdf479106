-- A put gives the revision, and the pair that it replaces.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local first = assert(client:put {key = "name", value = "one"})
print("revision", first.header.revision, first.prev_kv)
local second = assert(client:put {key = "name", value = "two", prev_kv = true})
print("raised by", second.header.revision - first.header.revision)
print(second.prev_kv.value, second.prev_kv.version)
local third = assert(client:put {key = "name", ignore_value = true, prev_kv = true})
print(third.prev_kv.value, third.prev_kv.version, client:get {key = "name"}.kvs[1].version)
