-- Closing a watch from another task ends a read that waits.
local silly = require "silly"
local task = require "silly.task"
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local stream = client:watch {key = "config/", prefix = true}
task.fork(function()
	print("ended", (select(2, stream:read())))
end)
task.fork(function()
	print("second reader", (select(2, stream:read())))
end)
silly.sleep(50)
stream:close()
