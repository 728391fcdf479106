package follow

import (
	"context"
	"errors"
	"testing"

	"silly.store/etcd"
)

// Which errors are a loss of history, and what is noted of it until the range is read again.
func TestLose(t *testing.T) {
	f := New(new(etcd.Client), Config{Key: "a"})
	defer f.Close()
	for _, test := range []struct {
		err         error
		lost, reset bool
		compactions int
	}{
		{context.Canceled, false, false, 0},
		{etcd.ErrPermissionDenied, false, false, 0},
		{&etcd.CompactedError{Revision: 7}, true, false, 1},
		{etcd.ErrRevisionTooLarge, true, false, 1},
		{etcd.ErrHistoryReset, true, true, 1},
		{etcd.ErrCompacted, true, true, 2}, // what is known of a reset stays
	} {
		f.phase, f.events = tailing, make([]etcd.Event, 1)
		err := f.lose(test.err)
		if test.lost != (err == nil) || !test.lost && !errors.Is(err, test.err) {
			t.Errorf("%v: %v", test.err, err)
		}
		if (f.phase == unread) != test.lost || (f.events == nil) != test.lost || f.reset != test.reset || f.compactions != test.compactions {
			t.Errorf("%v: phase %d, %d events, reset %v, %d compactions", test.err, f.phase, len(f.events), f.reset, f.compactions)
		}
	}
}

// The count of keys at a revision is compared when the state is at that revision, and once.
func TestAudit(t *testing.T) {
	f := New(new(etcd.Client), Config{Key: "a"})
	defer f.Close()
	f.own["a"] = pair("a", "1", 3, 3)
	for _, count := range []int64{1, 2} {
		f.audit = audit{revision: 10, count: count}
		for _, revision := range []int64{9, 10} {
			if err := f.reach(revision); err != nil {
				t.Errorf("%d keys at 10: %v before %d", count, err, revision)
			}
		}
		if err := f.reach(11); etcd.HistoryLost(err) != (count != 1) {
			t.Errorf("%d keys at 10, 1 in the state: %v", count, err)
		}
		if err := f.reach(12); err != nil {
			t.Errorf("it is compared again: %v", err)
		}
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{Snapshot: "snapshot", Changed: "changed", Progressed: "progressed", Resynced: "resynced"} {
		if k.String() != want {
			t.Errorf("kind %d is %q", k, k)
		}
	}
}

// Progress never takes the follower back, and is a step only for those that ask for it.
func TestProgressMovesForward(t *testing.T) {
	for _, asked := range []bool{false, true} {
		f := New(new(etcd.Client), Config{Key: "a", Progress: asked})
		defer f.Close()
		f.epoch, f.revision = 1, 10
		for _, test := range []struct {
			revision int64
			step     bool
		}{{9, false}, {10, asked}, {12, asked}, {11, false}} {
			if step, err := f.progressed(test.revision); err != nil || (step != nil) != test.step {
				t.Errorf("asked for %v, progress at %d: step %+v, %v", asked, test.revision, step, err)
			}
		}
		if want := map[bool]int64{false: 10, true: 12}[asked]; f.revision != want {
			t.Errorf("asked for %v: at revision %d, want %d", asked, f.revision, want)
		}
	}
}
