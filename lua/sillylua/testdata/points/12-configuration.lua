-- Configurations as JSON, listed by prefix.
local json = require "silly.encoding.json"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
client:put {key = "/config/db", value = json.encode {host = "localhost", port = 3306, on = true}}
client:put {key = "/config/list", value = json.encode {1, 2.5, "three", {}}}
for _, kv in ipairs(client:get {key = "/config/", prefix = true}.kvs) do
	print(kv.key, json.encode(json.decode(kv.value)))
end
print(json.decode '{"id": 9007199254740993, "none": null}'.id)
print(json.decode "[1, 2")
print(json.encode {f = print})
