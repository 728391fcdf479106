package coalesce

import (
	"errors"
	"testing"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

func TestLimits(t *testing.T) {
	var m limits
	m.init()
	if got := m.batch(); got != (Limits{maxParts, maxBatchBytes}) {
		t.Errorf("at first %+v", got)
	}
	b := newBatch(Put, m.batch(), nil)
	b.parts, b.size = make([]part, 100), 1000
	for _, test := range []struct {
		sentinel error
		smaller  bool
	}{{call.ErrTooManyOps, true}, {call.ErrTooManyOps, false}, {call.ErrRequestTooLarge, true}, {call.ErrLeaseNotFound, false}} {
		if m.refused(b, &call.Error{Sentinel: test.sentinel}) != test.smaller {
			t.Errorf("%v: batches are said to be smaller: %v", test.sentinel, !test.smaller)
		}
	}
	if got := m.batch(); got != (Limits{50, 500}) {
		t.Errorf("after refusals %+v", got)
	}
	for range 200 {
		m.weigh(20 << 10)
	}
	if got := m.batch().Parts; got < 10 || got > 15 {
		t.Errorf("%d answers of 20 KiB", got)
	}
	if m.heavy() {
		t.Error("20 KiB is too much")
	}
	if !m.weigh(1<<20) || !m.heavy() {
		t.Error("1 MiB is not too much")
	}
	for range 200 {
		m.weigh(100)
	}
	if m.heavy() || m.batch().Parts != 50 {
		t.Errorf("it does not come back: %+v", m.batch())
	}
}

func TestRefusalsBackOff(t *testing.T) {
	denied := &call.Error{Code: transport.PermissionDenied}
	var r refusals
	pause := func() time.Duration { return time.Until(r.until) }
	r.note(denied)
	first := pause()
	r.note(denied)
	if second := pause(); first > refusalBackoff.First || second < first || second > 2*refusalBackoff.First {
		t.Errorf("pauses of %v and %v", first, second)
	}
	for range 100 {
		r.note(denied)
	}
	if p := pause(); p > refusalBackoff.Cap || p < refusalBackoff.Cap/2 {
		t.Errorf("a pause of %v", p)
	}
	r.accepted(1)
	if r.row == 0 {
		t.Error("a call alone counts as a batch")
	}
	r.accepted(2)
	if r.note(denied); pause() > refusalBackoff.First {
		t.Error("it does not come back")
	}
}

func TestWhatIsARefusal(t *testing.T) {
	for want, list := range map[bool][]peertest.Reply{
		true: {peertest.NoLease, peertest.Says(transport.PermissionDenied, "etcdserver: permission denied"),
			peertest.Says(transport.InvalidArgument, "etcdserver: too many operations in txn request"),
			peertest.Says(transport.InvalidArgument, "etcdserver: request is too large"),
			peertest.Says(transport.FailedPrecondition, "etcdserver: rpc not supported for learner")},
		false: {peertest.Lost, peertest.NotSent, peertest.NoLeader, peertest.Busy, peertest.Stopped,
			peertest.Says(transport.ResourceExhausted, "etcdserver: mvcc: database space exceeded")},
	} {
		for _, r := range list {
			if e := call.FromTransport(rpc.PutShared, "", r.Err); e.RefusesShared() != want {
				t.Errorf("%v: %v", e, !want)
			}
		}
	}
	reset := &call.Error{Answered: true, Outcome: call.OutcomeRejected, Sentinel: call.ErrHistoryReset}
	if reset.RefusesShared() || !errors.Is(reset, call.ErrHistoryReset) {
		t.Error("a history reset is swallowed")
	}
}

func TestExcluded(t *testing.T) {
	var a excluded
	if a.has(7) {
		t.Error("at first")
	}
	a.add(7)
	if !a.has(7) || a.has(7+64) || a.has(8) {
		t.Error("after 7 was added")
	}
	a.add(7 + 64)
	if a.has(7) || !a.has(7+64) {
		t.Error("after another one took its place")
	}
}
