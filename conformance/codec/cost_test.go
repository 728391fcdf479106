//go:build codectest

package codec

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"silly.store/etcd"
)

func header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 0xcdf818194e3a8c32, MemberId: 0x8e9e05c52164694d, Revision: 1_234_567, RaftTerm: 7}
}

// pair returns a pair of usual size: a key of 20 bytes, a value of 100.
func pair(i int) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{
		Key:            fmt.Appendf(nil, "/registry/pod/%06d", i),
		Value:          make([]byte, 100),
		CreateRevision: 1_000_000 + int64(i),
		ModRevision:    1_200_000 + int64(i),
		Version:        int64(i%50) + 1,
	}
}

func pairs(n int) []*mvccpb.KeyValue {
	var list []*mvccpb.KeyValue
	for i := range n {
		list = append(list, pair(i))
	}
	return list
}

func rangeOf(n int) *pb.RangeResponse {
	return &pb.RangeResponse{Header: header(), Kvs: pairs(n), Count: int64(n)}
}

func watchOf(n int, prev bool) *pb.WatchResponse {
	resp := &pb.WatchResponse{Header: header(), WatchId: 1}
	for i := range n {
		e := &mvccpb.Event{Kv: pair(i)}
		if prev {
			e.PrevKv = pair(i)
		}
		resp.Events = append(resp.Events, e)
	}
	return resp
}

func txnOf(n int, op func(i int) *pb.ResponseOp) *pb.TxnResponse {
	resp := &pb.TxnResponse{Header: header(), Succeeded: true}
	for i := range n {
		resp.Responses = append(resp.Responses, op(i))
	}
	return resp
}

func getOp(pairs int) func(int) *pb.ResponseOp {
	return func(int) *pb.ResponseOp {
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: rangeOf(pairs)}}
	}
}

func putOp(prev bool) func(int) *pb.ResponseOp {
	return func(i int) *pb.ResponseOp {
		resp := &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 5}}
		if prev {
			resp.PrevKv = pair(i)
		}
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: resp}}
	}
}

func deleteOp(n int) func(int) *pb.ResponseOp {
	return func(int) *pb.ResponseOp {
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{
			ResponseDeleteRange: &pb.DeleteRangeResponse{Deleted: int64(n), PrevKvs: pairs(n)},
		}}
	}
}

func nestedOp(ops int) func(int) *pb.ResponseOp {
	return func(int) *pb.ResponseOp {
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: txnOf(ops, getOp(1))}}
	}
}

// The counts cover decoding alone, without the allocation of the message itself,
// which the caller makes.
func TestAllocations(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  proto.Message
		max  float64
	}{
		{"put", &pb.PutResponse{Header: header()}, 0},
		{"put with previous", &pb.PutResponse{Header: header(), PrevKv: pair(1)}, 1},
		{"get of nothing", rangeOf(0), 0},
		{"get of 1", rangeOf(1), 1},
		{"get of 10", rangeOf(10), 1},
		{"get of 1,000", rangeOf(1000), 1},
		{"get of 100,000", rangeOf(100_000), 1},
		{"part of a range stream", &pb.RangeStreamResponse{RangeResponse: rangeOf(1000)}, 1},
		{"delete of 1,000", &pb.DeleteRangeResponse{Header: header(), PrevKvs: pairs(1000)}, 1},
		{"watch of 1", watchOf(1, false), 1},
		{"watch of 1 with previous", watchOf(1, true), 2},
		{"watch of 1,000", watchOf(1000, false), 1},
		{"watch of 1,000 with previous", watchOf(1000, true), 2},
		{"txn of 1 get", txnOf(1, getOp(1)), 3},
		{"txn of 128 gets", txnOf(128, getOp(1)), 3},
		{"txn of 128 gets of nothing", txnOf(128, getOp(0)), 2},
		{"txn of 128 gets of 3", txnOf(128, getOp(3)), 5},
		{"txn of 1,000 gets of 3", txnOf(1000, getOp(3)), 5},
		{"txn of 128 puts", txnOf(128, putOp(false)), 2},
		{"txn of 128 puts with previous", txnOf(128, putOp(true)), 3},
		{"txn of 128 deletes", txnOf(128, deleteOp(0)), 2},
		{"txn of 128 deletes with previous", txnOf(128, deleteOp(1)), 3},
		{"txn of 30 txns of 4 gets", txnOf(30, nestedOp(4)), 20},
		{"leases", &pb.LeaseLeasesResponse{Leases: []*pb.LeaseStatus{{ID: 1}, {ID: 2}, {ID: 3}}}, 1},
		{"keys of a lease", &pb.LeaseTimeToLiveResponse{Keys: [][]byte{{1}, {2}, {3}}}, 1},
		{"keep-alive", &pb.LeaseKeepAliveResponse{Header: header(), ID: 1, TTL: 5}, 0},
		{"members", &pb.MemberListResponse{Header: header(), Members: []*pb.Member{
			{ID: 1, Name: "a", PeerURLs: []string{"p"}, ClientURLs: []string{"c", "d"}},
			{ID: 2, Name: "b", PeerURLs: []string{"p"}, ClientURLs: []string{"c", "d"}},
		}}, 5}, // two lists of strings each: members are few
	} {
		b := marshal(t, tt.msg)
		msg := ours(t, string(tt.msg.ProtoReflect().Descriptor().FullName()))
		v := msg.New()
		empty := testing.AllocsPerRun(20, func() { sink = msg.New() })
		got := testing.AllocsPerRun(20, func() {
			v = msg.New()
			if err := v.Decode(b); err != nil {
				t.Fatal(err)
			}
		})
		checkDecode(t, msg, b, tt.msg)
		if got -= empty; got > tt.max {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.max)
		}
	}
}

var sink any

// Appending a request to a buffer with enough room allocates nothing.
func TestAppendAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1<<20)
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand) {
		m := official(t, msg.Proto)
		f := filler{Rand: rnd}
		f.message(m.ProtoReflect())
		v := filled(t, m)
		if got := testing.AllocsPerRun(10, func() { _ = v.Append(buf) }); got != 0 {
			t.Errorf("%v allocations", got)
		}
	})
}

// maxFactor bounds the bytes that decoding may allocate per byte of input, however
// hostile. An empty pair takes 2 bytes of input and 72 of memory; a list that comes
// in parts moves as it grows.
const maxFactor = 160

func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Input with as many and as small elements as possible: whole, in parts that must
// be merged, and cut short.
func TestHostileAllocations(t *testing.T) {
	const size = 1 << 16
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, _ *rand.Rand) {
		md := official(t, msg.Proto).ProtoReflect().Descriptor()
		if !strings.Contains(msg.Proto, "Response") {
			return // never decoded in a normal build, or only inside these
		}
		for name, unit := range smallest(md, 4) {
			b := make([]byte, 0, size+len(unit))
			for len(b) < size {
				b = append(b, unit...)
			}
			for _, in := range [][]byte{b, b[:len(b)-1]} {
				v := msg.New()
				got := allocated(func() { _ = v.Decode(in) })
				if got > maxFactor*size {
					t.Errorf("%s: %d bytes of memory for each of input", name, got/size)
				}
			}
		}
	})
}

// smallest returns, by name, the shortest encoding of each path from md to a
// message or string. Each has one or five elements at every level, so that lists
// below lists have several elements.
func smallest(md protoreflect.MessageDescriptor, depth int) map[string][]byte {
	units := make(map[string][]byte)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.Message() == nil && !fd.IsList() {
			continue
		}
		tag := protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
		name := string(fd.Name())
		units[name] = protowire.AppendBytes(tag, nil)
		if fd.Message() == nil || depth == 0 {
			continue
		}
		for below, unit := range smallest(fd.Message(), depth-1) {
			var five []byte
			for range 5 {
				five = append(five, unit...)
			}
			units[name+"."+below] = protowire.AppendBytes(tag, unit)
			units[name+".5x"+below] = protowire.AppendBytes(tag, five)
		}
	}
	return units
}
