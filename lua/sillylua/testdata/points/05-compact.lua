-- After a compaction older revisions cannot be read.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
for i = 1, 10 do
	client:put {key = "counter", value = tostring(i)}
end
local now = client:get {key = "counter"}.header.revision
print("at", now, client:compact {revision = now - 5, physical = true} ~= nil)
print(client:get {key = "counter", revision = now - 5}.kvs[1].value)
local res, err, details = client:get {key = "counter", revision = now - 6}
print(res, err)
print(details.code, details.outcome, details.maybe_applied, details.op)
