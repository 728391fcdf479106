package main

// waivedMessages are the messages of etcd's API that package etcd doesn't
// carry, each with the reason. A message is listed here only if no call of
// the client services takes or returns it.
var waivedMessages = map[string]string{
	"authpb.Role": "how a member stores a role; no call returns it",
	"authpb.User": "how a member stores a user; no call returns it",
	"etcdserverpb.DowngradeVersionTestRequest": "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpoint":             "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpointRequest":      "goes between members, in raft's log",
	"etcdserverpb.LeaseCheckpointResponse":     "goes between members, in raft's log",
}

// waivedFields are the fields, by full name, of messages that we do carry
// which we don't, each with the reason.
var waivedFields = map[string]string{}
