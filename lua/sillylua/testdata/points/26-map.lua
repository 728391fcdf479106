-- One get of a prefix makes a map.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
for name, value in pairs {host = "localhost", port = "3306", user = "root"} do
	client:put {key = "/config/db/" .. name, value = value}
end
local config = {}
for _, kv in ipairs(client:get {key = "/config/db/", prefix = true}.kvs) do
	config[kv.key:match "/config/db/(.+)"] = kv.value
end
print(config.host, config.port, config.user)
