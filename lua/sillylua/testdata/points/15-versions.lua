-- Five versions, and the one of two revisions ago.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local last = 0
for i = 1, 5 do
	local res = client:put {key = "doc", value = ("version %d"):format(i)}
	print(i, res.header.revision > last)
	last = res.header.revision
end
local now = client:get {key = "doc"}
local kv = now.kvs[1]
print(kv.value, kv.version, kv.mod_revision - kv.create_revision)
print(client:get {key = "doc", revision = now.header.revision - 2}.kvs[1].value)
