-- A client is made from its options without a server.
local etcd = require "silly.store.etcd"
local client = etcd.newclient {
	endpoints = {"192.0.2.1:1"},
	retry = 3,
	retry_sleep = 500,
	timeout = 5,
}
print(client)
print(pcall(etcd.newclient, {endpoints = {}}))
print(pcall(etcd.newclient, {endpoints = {"a:1"}, retries = 3}))
print(pcall(etcd.newclient, {endpoints = {"a:1"}, timeout = "soon"}))
