package main

// waivedMessages lists the messages of etcd's API that package etcd doesn't carry,
// each with the reason. No call of the client services may take or return them.
var waivedMessages = map[string]string{
	"authpb.Role": "how a member stores a role; no call returns it",
	"authpb.User": "how a member stores a user; no call returns it",
	"etcdserverpb.DowngradeVersionTestRequest": "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpoint":             "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpointRequest":      "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpointResponse":     "goes between members, in raft's log",
}

// waivedFields lists, by full name, the omitted fields of carried messages, each
// with the reason.
var waivedFields = map[string]string{}
