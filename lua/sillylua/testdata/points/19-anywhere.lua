-- The client can be called from everywhere: the main chunk, tasks, coroutines, metamethods,
-- iterators, pcall, and the functions that sort and replace. The global task is there too.
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
for _, name in ipairs {"a", "b", "c"} do
	client:put {key = name, value = name:upper()}
end
local store = setmetatable({}, {__index = function(_, key) return client:get {key = key}.kvs[1].value end})
print(store.a, (pcall(client.get, client, {key = "a"})))
local wrapped = coroutine.wrap(function()
	for _, name in ipairs {"a", "b"} do
		coroutine.yield(store[name])
	end
end)
print(wrapped(), wrapped())
local names = {"b", "c", "a"}
table.sort(names, function(x, y) return store[x] < store[y] end)
print(table.concat(names))
print((("abc"):gsub("%a", function(name) return store[name] end)))
task.fork(function() print("a task", store.c) end)
