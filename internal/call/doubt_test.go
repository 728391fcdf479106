package call

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/rpc"
)

// The member behind the only address has stopped inside, and another connection leads to
// one that serves. Calls find it whose deadlines are too short for them to be late, writes
// and reads.
func TestStuckMemberAndShortDeadlines(t *testing.T) {
	for _, method := range []*rpc.Method{rpc.Get, rpc.Put} {
		synctest.Test(t, func(t *testing.T) {
			e, m := scripted(t, once, ok)
			if err := do(t.Context(), e, method); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			m.Answer(silence)
			m.OnDial(func(context.Context) error { m.Answer(ok); return nil })
			failed := 0
			for began := time.Now(); ; failed++ {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				err := do(ctx, e, method)
				cancel()
				if err == nil {
					break
				}
				if time.Since(began) > 3*time.Second {
					t.Fatalf("%s: %v", method.Op, err)
				}
			}
			if conns := m.Conns(); failed == 0 || len(conns) != 2 || m.LastConn() == conns[0] {
				t.Errorf("%s: %d failed, on %d connections", method.Op, failed, len(conns))
			}
			e.Close()
		})
	}
}
