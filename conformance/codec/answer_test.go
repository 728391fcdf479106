//go:build codectest

package codec

import (
	"bytes"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/keepalive"
)

// FuzzAnswer compares the decoder of renewals, which is not generated, with etcd's own
// LeaseKeepAliveResponse. If etcd would not encode the header that way, it compares only
// the fields of the answer.
func FuzzAnswer(f *testing.F) {
	seed(f, "etcdserverpb.LeaseKeepAliveResponse", func(b []byte) { f.Add(b) })
	f.Add([]byte("\x0a\x08\x08\x05\x80\x01\x08\x88\x01\x07\x10\x01")) // numbers in the header that a later etcd may add
	f.Fuzz(func(t *testing.T, b []byte) {
		var got keepalive.Answer
		err := got.Decode(b)
		var official pb.LeaseKeepAliveResponse
		if proto.Unmarshal(b, &official) != nil {
			return // ours skips fields that it does not need
		}
		if err != nil || got.ID != official.ID || got.TTL != official.TTL {
			t.Fatalf("%x: %+v, %v; want %v", b, got, err, &official)
		}
		h := official.GetHeader()
		want := call.Header{ClusterID: h.GetClusterId(), MemberID: h.GetMemberId(), Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm()}
		if canonical := marshal(t, &official); bytes.Equal(canonical, b) && got.Header != want {
			t.Fatalf("%x: header %+v, want %+v", b, got.Header, want)
		}
	})
}
