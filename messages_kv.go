package etcd

import (
	"bytes"
	"strings"
)

// The structs of the messages_*.go files are the schema of etcd's messages: each
// names its protobuf message, each field carries its number there. wiregen
// emits the encoding and decoding methods in messages_gen.go from them and holds
// them against etcd's own descriptors.
//
// Requests are appended only, responses decoded only. The opposite directions
// exist for tests, with the build tag codectest.

//go:generate go -C tools run ./wiregen

// LeaseID names a lease. The server or the client picks it; 0 means no lease.
type LeaseID int64

// KeyValue is one key of the store with its value, at one revision.
//
// Keys are arbitrary bytes; they are kept in a string, which need not be
// UTF-8, because strings can be compared, used in maps and never change.
//
// Key and Value of a KeyValue that came in a response point into the bytes of
// that response. These belong to the caller, are never reused, and Value may
// be written to, but a single KeyValue that is kept keeps all of its response
// in memory: use [KeyValue.Clone] to keep a few of many.
//
// A KeyValue may be read concurrently.
//
//etcd:message mvccpb.KeyValue
type KeyValue struct {
	// Key is the key, whole, with any prefix by which it was asked for.
	Key string `etcd:"1"`
	// Value is nil or empty when the key has an empty value, was asked for
	// with KeysOnly, or belongs to a deletion. Its capacity is its length,
	// so that an append copies it.
	Value []byte `etcd:"5"`
	// CreateRevision is the revision at which the key was put while it did
	// not exist. It is 0 in the KeyValue of a deletion.
	CreateRevision int64 `etcd:"2"`
	// ModRevision is the revision of the key's last put or deletion.
	ModRevision int64 `etcd:"3"`
	// Version counts the puts since the key was created, from 1; a deletion
	// resets it to 0.
	Version int64 `etcd:"4"`
	// Lease is the lease with whose end the key is deleted, 0 if there is
	// none, and on etcd 3.7 when the key was asked for with KeysOnly.
	Lease LeaseID `etcd:"6"`
}

// Clone returns a copy of kv that shares no memory with it, and so keeps
// nothing else of a response in memory.
func (kv *KeyValue) Clone() KeyValue {
	c := *kv
	c.Key = strings.Clone(kv.Key)
	c.Value = bytes.Clone(kv.Value)
	return c
}

// ResponseHeader says which member answered a request and at which revision.
//
//etcd:message etcdserverpb.ResponseHeader
type ResponseHeader struct {
	// ClusterID is the ID of the cluster that the member belongs to.
	ClusterID uint64 `etcd:"1"`
	// MemberID is the ID of the member that answered.
	MemberID uint64 `etcd:"2"`
	// Revision is the revision of the member's store when it answered, not
	// that of the keys in the response. It is the only field that is set in
	// the headers of a Txn's operations, and 0 in responses that don't
	// concern the store.
	Revision int64 `etcd:"3"`
	// RaftTerm is the member's raft term.
	RaftTerm uint64 `etcd:"4"`
}

// SortOrder says in which order a Get returns its keys.
//
//etcd:enum etcdserverpb.RangeRequest.SortOrder
//etcd:value SortNone NONE
//etcd:value Ascend ASCEND
//etcd:value Descend DESCEND
type SortOrder int32

// The orders. The zero value, SortNone, leaves the order to the server: it is
// ascending by key, unless SortTarget asks for something else than keys, which
// implies [Ascend].
const (
	SortNone SortOrder = 0
	Ascend   SortOrder = 1
	Descend  SortOrder = 2
)

// SortTarget says by what a Get sorts its keys.
//
//etcd:enum etcdserverpb.RangeRequest.SortTarget
//etcd:value SortByKey KEY
//etcd:value SortByVersion VERSION
//etcd:value SortByCreateRevision CREATE
//etcd:value SortByModRevision MOD
//etcd:value SortByValue VALUE
type SortTarget int32

// What can be sorted by. The zero value is SortByKey.
const (
	SortByKey            SortTarget = 0
	SortByVersion        SortTarget = 1
	SortByCreateRevision SortTarget = 2
	SortByModRevision    SortTarget = 3
	SortByValue          SortTarget = 4
)

// CompareResult is the relation that a comparison of a Txn asks for: the stored value
// on the left, the given value on the right.
//
//etcd:enum etcdserverpb.Compare.CompareResult
//etcd:value Equal EQUAL
//etcd:value Greater GREATER
//etcd:value Less LESS
//etcd:value NotEqual NOT_EQUAL
type CompareResult int32

// The relations. The zero value is Equal.
const (
	Equal    CompareResult = 0
	Greater  CompareResult = 1
	Less     CompareResult = 2
	NotEqual CompareResult = 3
)

// CompareTarget is the property of a key that a comparison of a Txn looks at.
//
//etcd:enum etcdserverpb.Compare.CompareTarget
//etcd:value TargetVersion VERSION
//etcd:value TargetCreateRevision CREATE
//etcd:value TargetModRevision MOD
//etcd:value TargetValue VALUE
//etcd:value TargetLease LEASE
type CompareTarget int32

// What can be compared. The zero value is TargetVersion.
const (
	TargetVersion        CompareTarget = 0
	TargetCreateRevision CompareTarget = 1
	TargetModRevision    CompareTarget = 2
	TargetValue          CompareTarget = 3
	TargetLease          CompareTarget = 4
)

// EventType is what happened to a key.
//
//etcd:enum mvccpb.Event.EventType
//etcd:value EventPut PUT
//etcd:value EventDelete DELETE
type EventType int32

// What can happen to a key.
const (
	// EventPut says that the key was created or changed.
	EventPut EventType = 0
	// EventDelete says that the key was deleted, or that its lease ended.
	EventDelete EventType = 1
)

// Event is one change of one key.
//
// The bytes of KV and PrevKV point into the response that the event came in;
// see [KeyValue]. An Event may be read concurrently.
//
//etcd:message mvccpb.Event
type Event struct {
	// Type says whether the key was put or deleted.
	Type EventType `etcd:"1"`
	// KV is the key as the change left it. Of a deletion it has only Key
	// and ModRevision, which is the deletion's revision.
	KV KeyValue `etcd:"2"`
	// PrevKV is the key as it was before the change. It is nil if it was
	// not asked for, if the key did not exist, or if that revision has been
	// compacted.
	PrevKV *KeyValue `etcd:"3"`
}

// PutResponse is the answer to a Put. It may be read concurrently.
//
//etcd:message etcdserverpb.PutResponse
type PutResponse struct {
	// Header names the member that answered. Its Revision is the revision of the put.
	Header ResponseHeader `etcd:"1"`
	// PrevKV is the key as it was before. It is nil if it was not asked for
	// or if the key did not exist.
	PrevKV *KeyValue `etcd:"2"`
}

// GetResponse is the answer to a Get.
//
// The keys and values of KVs point into one buffer, the bytes of the
// response; see [KeyValue] for what that means when they are kept. A
// GetResponse may be read concurrently.
//
//etcd:message etcdserverpb.RangeResponse
type GetResponse struct {
	// Header names the member that answered. Its Revision is the revision of the store,
	// also when the Get asked for an older one.
	Header ResponseHeader `etcd:"1"`
	// KVs are the keys found, in the order asked for. It is nil if there
	// are none and with CountOnly.
	KVs []KeyValue `etcd:"2"`
	// More says that the limit left out keys of the range.
	More bool `etcd:"3"`
	// Count is the number of keys in the range, also of those that the
	// limit left out. Filters by revision don't lower it.
	Count int64 `etcd:"4"`
}

// First is the first of KVs, for a Get of a single key. ok is false when there is
// none, also on a nil response; kv is then the zero KeyValue, whose ModRevision 0 is
// what [CompareModRevision] of a key that does not exist expects. kv points into the
// response like KVs do.
func (r *GetResponse) First() (kv KeyValue, ok bool) {
	if r == nil || len(r.KVs) == 0 {
		return KeyValue{}, false
	}
	return r.KVs[0], true
}

// DeleteResponse is the answer to a Delete. It may be read concurrently.
//
//etcd:message etcdserverpb.DeleteRangeResponse
type DeleteResponse struct {
	// Header names the member that answered. Its Revision is the revision of the
	// deletion, or the store's if there was nothing to delete.
	Header ResponseHeader `etcd:"1"`
	// Deleted is the number of keys that were deleted.
	Deleted int64 `etcd:"2"`
	// PrevKVs are the deleted keys as they were before. It is nil if they
	// were not asked for. Their bytes point into the response; see
	// [KeyValue].
	PrevKVs []KeyValue `etcd:"3"`
}

// CompactResponse is the answer to a Compact. It may be read concurrently.
//
//etcd:message etcdserverpb.CompactionResponse
type CompactResponse struct {
	// Header names the member that answered.
	Header ResponseHeader `etcd:"1"`
}

// TxnResponse is the answer to a Txn.
//
// All that it holds lies in few blocks of memory that its parts share: a part
// that is kept keeps the whole in memory. A TxnResponse may be read
// concurrently.
//
//etcd:message etcdserverpb.TxnResponse
type TxnResponse struct {
	// Header names the member that answered. Its Revision is that of the Txn's changes,
	// or the store's if there were none.
	Header ResponseHeader `etcd:"1"`
	// Succeeded says that all comparisons held, so that Then was done; else
	// Else was.
	Succeeded bool `etcd:"2"`
	// Responses answer the operations of Then or Else, one each, in order.
	Responses []OpResponse `etcd:"3"`
}

// OpResponse is the answer to one operation of a Txn. One of the fields is
// set, that of the operation's kind.
//
//etcd:message etcdserverpb.ResponseOp
type OpResponse struct {
	Get    *GetResponse    `etcd:"1,name=response_range,oneof=response"`
	Put    *PutResponse    `etcd:"2,name=response_put,oneof=response"`
	Delete *DeleteResponse `etcd:"3,name=response_delete_range,oneof=response"`
	Txn    *TxnResponse    `etcd:"4,name=response_txn,oneof=response"`
}

//etcd:message etcdserverpb.RangeStreamResponse
type rangeStreamResponse struct {
	RangeResponse GetResponse `etcd:"1"`
}

//etcd:message etcdserverpb.RangeRequest
type rangeRequest struct {
	space             string     `etcd:"-"` // of a view: what Key begins with, see space.interval
	Key               string     `etcd:"1,after=space"`
	RangeEnd          string     `etcd:"2"`
	Limit             int64      `etcd:"3"`
	Revision          int64      `etcd:"4"`
	SortOrder         SortOrder  `etcd:"5"`
	SortTarget        SortTarget `etcd:"6"`
	Serializable      bool       `etcd:"7"`
	KeysOnly          bool       `etcd:"8"`
	CountOnly         bool       `etcd:"9"`
	MinModRevision    int64      `etcd:"10"`
	MaxModRevision    int64      `etcd:"11"`
	MinCreateRevision int64      `etcd:"12"`
	MaxCreateRevision int64      `etcd:"13"`
}

//etcd:message etcdserverpb.PutRequest
type putRequest struct {
	space       string  `etcd:"-"` // of a view: what Key begins with, see space.interval
	Key         string  `etcd:"1,after=space"`
	Value       []byte  `etcd:"2"`
	Lease       LeaseID `etcd:"3"`
	PrevKV      bool    `etcd:"4"`
	IgnoreValue bool    `etcd:"5"`
	IgnoreLease bool    `etcd:"6"`
}

//etcd:message etcdserverpb.DeleteRangeRequest
type deleteRangeRequest struct {
	space    string `etcd:"-"` // of a view: what Key begins with, see space.interval
	Key      string `etcd:"1,after=space"`
	RangeEnd string `etcd:"2"`
	PrevKV   bool   `etcd:"3"`
}

//etcd:message etcdserverpb.TxnRequest
type txnRequest struct {
	Compare []compare   `etcd:"1"`
	Success []requestOp `etcd:"2"`
	Failure []requestOp `etcd:"3"`
}

// requestOp is one operation of a Txn: the first field that is set.
//
//etcd:message etcdserverpb.RequestOp
type requestOp struct {
	Range       *rangeRequest       `etcd:"1,name=request_range,oneof=request"`
	Put         *putRequest         `etcd:"2,name=request_put,oneof=request"`
	DeleteRange *deleteRangeRequest `etcd:"3,name=request_delete_range,oneof=request"`
	Txn         *txnRequest         `etcd:"4,name=request_txn,oneof=request"`
}

// compare is one comparison of a Txn. Of the fields from Version to Lease the
// one that Target chooses is sent, also when it is zero, the others never.
//
//etcd:message etcdserverpb.Compare
type compare struct {
	space          string        `etcd:"-"` // of a view: what Key begins with, see space.interval
	Result         CompareResult `etcd:"1"`
	Target         CompareTarget `etcd:"2"`
	Key            string        `etcd:"3,after=space"`
	Version        int64         `etcd:"4,oneof=target_union,when=Target:TargetVersion"`
	CreateRevision int64         `etcd:"5,oneof=target_union,when=Target:TargetCreateRevision"`
	ModRevision    int64         `etcd:"6,oneof=target_union,when=Target:TargetModRevision"`
	Value          []byte        `etcd:"7,oneof=target_union,when=Target:TargetValue"`
	Lease          LeaseID       `etcd:"8,oneof=target_union,when=Target:TargetLease"`
	RangeEnd       string        `etcd:"64"`
}

//etcd:message etcdserverpb.CompactionRequest
type compactionRequest struct {
	Revision int64 `etcd:"1"`
	Physical bool  `etcd:"2"`
}
