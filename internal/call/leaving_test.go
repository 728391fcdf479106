package call

import (
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
)

// leaving opens a stream whose reader finds a better member when better says so.
func leaving(t *testing.T, better func(s *Leaving) bool) *Leaving {
	t.Helper()
	e, m := scripted(t, once, ok)
	s, failed := e.OpenLeaving(t.Context(), Request{Method: rpc.Snapshot, Message: []byte{}}, time.Second)
	if failed != nil {
		t.Fatal(failed)
	}
	t.Cleanup(func() {
		s.Close()
		e.Close()
	})
	m.NextStream(t)
	s.look = func(balance.Picked) bool { return better(s) }
	return s
}

// Regression: a snapshot whose first piece came while the client looked for another member
// was cut off when there was one, although its reader had decided to stay.
func TestStayDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := leaving(t, func(s *Leaving) bool {
			if failed := s.Stay(); failed != nil {
				t.Error(failed)
			}
			return true
		})
		s.leaveIfBetter(s.Conn)
		if s.left.Load() || s.reading.Err() != nil {
			t.Error("the member was left")
		}
	})
}

// One that was left just before hears of it from Stay, so that it begins elsewhere.
func TestStayTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := leaving(t, func(*Leaving) bool { return true })
		s.leaveIfBetter(s.Conn)
		if failed := s.Stay(); failed == nil || !failed.Transient {
			t.Errorf("Stay: %v", failed)
		}
	})
}
