-- Five puts at a time; a task that fails does not keep the group waiting.
local waitgroup = require "silly.sync.waitgroup"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}, coalesce = "all"}
local group = waitgroup.new()
for i = 1, 5 do
	group:fork(function()
		assert(client:put {key = "batch/key" .. i, value = "value-" .. i})
	end)
end
group:wait()
print(client:get {key = "batch/", prefix = true}.count)
group:wait()
print "nothing left to wait for"
