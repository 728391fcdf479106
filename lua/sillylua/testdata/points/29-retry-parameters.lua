-- Two configurations, for near and far, without servers; no retry ends a call at once.
local etcd = require "silly.store.etcd"
local near = etcd.newclient {endpoints = {"192.0.2.1:2379"}, retry = 2, retry_sleep = 100, timeout = 2}
local far = etcd.newclient {endpoints = {"remote.example.com:2379"}, retry = 5, retry_sleep = 2000, timeout = 10}
print(near ~= far)
local never = etcd.newclient {endpoints = {"127.0.0.1:1"}, retry = 0, retry_sleep = 60000, timeout = 1.5}
local _, _, details = never:get {key = "k"}
print(details.attempts, details.code)
