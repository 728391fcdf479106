package etcd

import (
	"errors"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/transport"
)

// Bug: a server that answered pages of a range with Unimplemented was asked for
// ever, without a pause.
func TestRangePagesUnimplemented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := scriptedBy(t, Config{}, says(transport.Unimplemented, "unknown method Range"))
		r := &Range{c: c, ctx: t.Context(), first: GetResponse{More: true, KVs: []KeyValue{{Key: "a"}}}}
		var last error
		for _, err := range r.All() {
			last = err
		}
		var e *Error
		if !errors.As(last, &e) || e.Code != CodeUnimplemented || m.Counts().Calls != 1 {
			t.Errorf("%v after %d calls", last, m.Counts().Calls)
		}
	})
}

// The member that answers a serializable page may not know the revision yet that
// another has named; then the leader is asked.
func TestRangeMemberBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := scriptedBy(t, Config{}, says(transport.OutOfRange, "etcdserver: mvcc: required revision is a future revision"), ok)
		r := &Range{
			c: c, ctx: t.Context(), revision: 7, req: rangeRequest{Serializable: true, MinModRevision: 1},
			first: GetResponse{More: true, KVs: []KeyValue{{Key: "a"}}},
		}
		n := 0
		for _, err := range r.All() {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 1 || m.Counts().Calls != 2 || m.Calls()[0].RequireLeader || !m.Calls()[1].RequireLeader {
			t.Errorf("%d pairs after %d calls", n, m.Counts().Calls)
		}
	})
}
