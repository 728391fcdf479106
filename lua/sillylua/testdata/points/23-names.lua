-- Hierarchical names are found by their prefix.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
client:put {key = "/app/database/host", value = "a"}
client:put {key = "/app/database/port", value = "b"}
client:put {key = "/app/databases", value = "c"}
print(client:get {key = "/app/database/", prefix = true}.count)
print(client:get {key = "/app/database/", range_end = "/app/databases\0"}.count)
