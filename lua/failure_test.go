package lua

import "testing"

// What a script gets wrong is said with the script's names, in texts and details that are
// alike whether this package or the client has refused it. Nothing here reaches a server.
func TestRefusals(t *testing.T) {
	expect(t, `
local etcd = require "silly.store.etcd"
local client = etcd.newclient {endpoints = {"127.0.0.1:1"}, retry = 0, timeout = 1}
local function show(op, ...)
	local _, text, details = client[op](client, ...)
	assert(details.op == op and details.endpoint == "" and details.outcome == "not sent" and details.attempts == 0)
	assert(details.code == "INVALID_ARGUMENT" and text == "code = INVALID_ARGUMENT desc = " .. details.message)
	assert(details.maybe_applied == false and details.temporary == false)
	print(details.message)
end
show("put", {value = "v"})
show("put", {key = "", value = "v"})
show("put", {key = "k", value = "v", ignore_value = true})
show("put", {key = "k", value = "v", ignore_lease = true, lease = 1})
show("get", {key = ""})
show("get", {key = "k", limit = -1})
show("get", {key = "k", keys_only = true, count_only = true})
show("get", {key = "k", min_mod_revision = 3, max_mod_revision = 2})
show("get", {key = "k", min_create_revision = -3})
show("get", {key = "", range_end = "b"})
show("delete", {key = ""})
show("delete", {prefix = true, key = ""})
show("delete", {key = "\0", fromkey = true})
show("delete", {key = "\0", range_end = "\0"})
show("delete", {all = true, key = "Key"})
show("compact", {revision = -1})
show("revoke", {ID = 0})
show("ttl", {ID = 0})
show("keepalive", {ID = 0})
show("keepalive", 0)
show("keepalive", "x")
show("keepalive_once", {ID = 0})
show("lease", 5)
show("watch", {key = "Limit", range_end = "Key"})
show("watch", {key = "k", revision = -1})
show("txn", {compare = {{key = "a", version = 0}, {key = "", version = 0}}})
show("txn", {success = {{put = {key = "k", value = "v"}}}, serializable = true})
show("txn", {success = {{get = {key = "k"}}, {get = {key = "k", limit = -1}}}})
show("txn", {failure = {{txn = {success = {{delete = {key = "\0", fromkey = true}}}}}}})
print((select(2, client:lock("x", "p", "u"))))
print((select(2, client:lock(0, "p", "u"))))
print(pcall(client.lock, client, 1, nil, "u"))
print(pcall(client.unlock, client, "p"))
print(pcall(require "silly.sync.waitgroup".new().fork, nil))
local group, mutex = require "silly.sync.waitgroup".new(), require "silly.sync.mutex".new()
print(pcall(group.fork, group))
print(pcall(mutex.lock, mutex))

print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1", "a b"}}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1", "127.0.0.1:1"}}))
print(pcall(etcd.newclient, {endpoints = {"http://u:p@127.0.0.1:1"}}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, user = "u"}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, cert = "c.pem"}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, ca = "/none.pem"}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, timeout = 0.0001}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, timeout = 5e-9}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, retry_sleep = 0.5}))
print(pcall(etcd.newclient, {endpoints = {"127.0.0.1:1"}, coalesce = "some"}))
print(pcall(etcd.newclient, {dsn = "etcd://127.0.0.1:1/x"}))
print(pcall(etcd.newclient, {dsn = "etcd://127.0.0.1:1/?timeout=5"}))
print(pcall(etcd.newclient, {dsn = "etcd://127.0.0.1:1/?tls=maybe"}))
`, `put: key is required
put: key is empty
put: ignore_value keeps the stored value, but value is set too
put: ignore_lease keeps the key's lease, but lease is set too
get: key is empty; set prefix or fromkey to mean all keys
get: limit is negative: -1
get: keys_only and count_only are both set; count_only returns no keys
get: min_mod_revision 3 is above max_mod_revision 2
get: min_create_revision is negative: -3
get: key is empty; set prefix or fromkey to mean all keys
delete: key is empty; set all to delete every key
delete: key is empty; set all = true to delete every key
delete: key "\x00" is the first possible key, so every key would be deleted; set all instead if that is meant
delete: key "\x00" is the first possible key, so every key would be deleted; set all instead if that is meant
delete: all deletes every key, but key is set too
compact: revision is -1; it must be positive
revoke: ID is 0, which is no lease
ttl: ID is 0, which is no lease
keepalive: ID is 0, which is no lease
keepalive: ID is 0, which is no lease
keepalive: ID must be an integer, not the string "x"
keepalive_once: ID is 0, which is no lease
lease: this client has not granted it
watch: range_end "Key" is not above key "Limit", so the range is empty
watch: revision is negative: -1
txn: compare[2]: key is empty
txn: serializable is set, but the transaction writes
txn: success[2].limit is negative: -1
txn: failure[1].success[1].key "\x00" is the first possible key, so every key would be deleted; set all instead if that is meant
code = INVALID_ARGUMENT desc = lock: the lease must be an integer, not the string "x"
code = INVALID_ARGUMENT desc = lock: the lease is 0, which is none
false	script:42: lock: prefix must be a string, not nil
false	script:43: unlock: uuid must be a string, not no value
false	script:44: fork: no waitgroup before it; call it with a colon, like object:fork(…)
false	script:46: bad argument #1 to (anonymous) (a function expected, got no value)
false	script:47: bad argument #1 to (anonymous) (a key expected, got nil)
false	script:49: newclient: endpoints[2] "a b" cannot be parsed: there is a character in its host that no host has; write host:port or https://host:port
false	script:50: newclient: endpoints[2] "127.0.0.1:1" is the same as endpoints[1]
false	script:51: newclient: endpoints[1] has a user or password in it; set user and password instead
false	script:52: newclient: password is empty, but user is set; users without a password authenticate with a client certificate and need neither
false	script:53: newclient: key is empty, but cert "c.pem" needs its private key
false	script:54: newclient: ca: open /none.pem: no such file or directory
false	script:55: newclient: timeout must be at least 0.001, not 0.0001
false	script:56: newclient: timeout must be at least 0.001, not 5e-09
false	script:57: newclient: retry_sleep must be at least 1, not 0.5
false	script:58: newclient: coalesce must be one of reads, all, off, not "some"
false	script:59: newclient: dsn has a path after the hosts, which means nothing; a unix socket is written etcd:///path
false	script:60: newclient: dsn: parameter timeout is "5"; write a duration like 500ms or 5s
false	script:61: newclient: dsn: parameter tls is neither true nor false; certificates are always verified
`)
}
