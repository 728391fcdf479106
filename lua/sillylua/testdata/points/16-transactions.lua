-- Counters read and written one by one, and then in one transaction.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
client:put {key = "a", value = "10"}
client:put {key = "b", value = "20"}
local function values()
	return tonumber(client:get {key = "a"}.kvs[1].value), tonumber(client:get {key = "b"}.kvs[1].value)
end
local a, b = values()
print(a, b, a + b)
client:put {key = "a", value = tostring(a + 1)}
client:put {key = "b", value = tostring(b + 1)}
print(values())

local function increment()
	local kva, kvb = client:get {key = "a"}.kvs[1], client:get {key = "b"}.kvs[1]
	return client:txn {
		compare = {
			{key = "a", mod_revision = kva.mod_revision},
			{key = "b", target = "MOD", result = "EQUAL", mod_revision = kvb.mod_revision},
		},
		success = {
			{put = {key = "a", value = tostring(tonumber(kva.value) + 1)}},
			{put = {key = "b", value = tostring(tonumber(kvb.value) + 1)}},
		},
		failure = {{get = {key = "a"}}},
	}
end
local done = increment()
print(done.succeeded, #done.responses, done.responses[1].put ~= nil, values())
local missed = client:txn {
	compare = {{key = "a", result = ">", version = 1000}},
	failure = {{get = {key = "a"}}, {delete = {key = "b"}}},
}
print(missed.succeeded, missed.responses[1].get.kvs[1].value, missed.responses[2].delete.deleted)
local empty = client:txn {
	compare = {
		{key = "b", range_end = "a", version = 0},
		{key = "a", range_end = "a", target = "CREATE", create_revision = 0},
	},
	success = {{get = {key = "b", range_end = "a"}}, {delete = {key = "a", range_end = "a"}}},
}
print(empty.succeeded, empty.responses[1].get.count, empty.responses[2].delete.deleted)
