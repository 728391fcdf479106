package balance

import (
	"context"
	"time"

	"silly.store/etcd/internal/transport"
)

// One dial of a link may make several attempts beside each other: at each address of
// the endpoint's host, and again at the same one, behind which there may be several
// members. The first that is good is taken.

const (
	// addressStagger is how long an attempt may take before the next one, at another
	// address, is started beside it.
	addressStagger = 300 * time.Millisecond
	// repeatAfter is the same where there is no other address. It is long, because
	// where one member is behind the address and slow, it has twice the work.
	repeatAfter = 1500 * time.Millisecond
	// repeats is how often a single address is tried again in this way.
	repeats = 1
	// spareRepeats is how often where a connection is suspect, because a balancer may
	// choose the same member again, until it has found out about it too. The first
	// repetition comes after spareStagger, while calls wait, and each later one after
	// twice the time of the one before.
	spareRepeats = 5
	spareStagger = 100 * time.Millisecond
	// learnerRepeats is how often where a member is a learner.
	learnerRepeats = 2
)

// reached is the end of an attempt.
type reached struct {
	attempt int            // its number in the dial
	conn    transport.Conn // nil after an error
	id      Identity
	address string // that was looked up; empty: none was
	place   string // the address of the target
	checks  int    // how many requests the check took
	err     error
}

// reach connects to m and checks what is there, where that is wanted. It returns no
// connection that it has not found good.
func (s *Set) reach(ctx context.Context, m *member, target transport.Target, why purpose) reached {
	spare := why != forFirst
	places, err := s.places(ctx, m, target)
	if err != nil {
		return reached{err: err}
	}
	// A member that has others beside it is asked who it is before it gets calls.
	a := attempts{s: s, m: m, places: places, probed: why == forMute, wary: s.wary() || s.check != nil && (spare || len(places) > 1)}
	a.most, a.stagger = len(places), addressStagger
	switch {
	case spare:
		a.most, a.stagger, a.slowing = max(a.most, 1+spareRepeats), spareStagger, true
	case len(places) == 1:
		a.most, a.stagger = 1+repeats, repeatAfter
	}
	return a.run(ctx)
}

// attempts are those of one dial.
type attempts struct {
	s       *Set
	m       *member
	places  []transport.Target
	wary    bool          // connections are checked
	probed  bool          // and must answer a probe
	most    int           // how many attempts there may be
	stagger time.Duration // between two, while none has failed
	slowing bool          // stagger doubles with each

	begun, open int
	ends        chan reached
	learner     reached // the best there is, if there is no other
	failures    addressErrors
}

// run returns when an attempt has made a connection that is good, or all have failed.
func (a *attempts) run(ctx context.Context) reached {
	ctx, cancel := context.WithCancel(ctx)
	a.ends = make(chan reached, a.most)
	timer := time.NewTimer(a.stagger)
	defer timer.Stop()
	for a.begin(ctx); a.open > 0; {
		select {
		case r := <-a.ends:
			a.open--
			if a.take(r) {
				cancel()
				a.s.routines.Go(func() { a.abandon(r.attempt) })
				return r
			}
			if a.begun < len(a.places) || len(a.places) == 1 && r.id.Learner && a.begun < 1+learnerRepeats {
				a.begin(ctx)
				timer.Reset(a.stagger)
			}
		case <-timer.C:
			if a.begun < a.most {
				if a.slowing {
					a.stagger *= 2
				}
				a.begin(ctx)
				timer.Reset(a.stagger)
			}
		}
	}
	cancel()
	if a.learner.conn != nil {
		return a.learner
	}
	return reached{err: a.failure()}
}

// begin starts the next attempt.
func (a *attempts) begin(ctx context.Context) {
	attempt, place := a.begun, a.places[a.begun%len(a.places)]
	a.begun++
	a.open++
	a.s.routines.Go(func() {
		r := a.reachPlace(ctx, place)
		r.attempt = attempt
		a.ends <- r
	})
}

// take reports whether r is to be taken. A learner, which refuses nearly everything,
// is kept for when there is nothing better.
func (a *attempts) take(r reached) bool {
	a.note(r)
	switch {
	case r.err != nil:
		a.failures = append(a.failures, EndpointError{r.address, r.err})
		return false
	case !r.id.Learner:
		if a.learner.conn != nil {
			_ = a.learner.conn.Close()
		}
		return true
	case a.learner.conn != nil:
		_ = r.conn.Close()
	default:
		a.learner = r
	}
	return false
}

// note remembers whether an address was of use.
func (a *attempts) note(r reached) {
	failed := time.Time{}
	if r.err != nil || r.id.Learner {
		failed = time.Now()
	}
	a.s.record(a.m, r.address, func(a *addressRecord) { a.failed = failed })
}

// abandon is the goroutine that sees to the attempts which another one has overtaken.
// Those that had begun before it were of no use.
func (a *attempts) abandon(by int) {
	for range a.open {
		r := <-a.ends
		if r.conn != nil {
			_ = r.conn.Close()
		} else if r.attempt < by {
			a.note(r)
		}
	}
}

// failure is why all attempts have failed: those at one address for the same reason.
func (a *attempts) failure() error {
	if a.failures[0].Endpoint == "" {
		return a.failures[0].Err
	}
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: a.failures[:min(len(a.failures), len(a.places))]}
}

// reachPlace makes one attempt.
func (a *attempts) reachPlace(ctx context.Context, place transport.Target) reached {
	s, m := a.s, a.m
	wary := a.wary && !s.trusted(m, place.Address)
	r := reached{place: place.Address}
	if place.Resolved {
		r.address = place.Address
	}
	r.conn, r.err = s.dial(ctx, place)
	if r.err != nil || !wary && !a.probed {
		return r
	}
	if wary {
		r.id, r.err = s.check(ctx, r.conn)
	}
	if a.probed && r.err == nil {
		r.err = s.unanswered(ctx, r.conn)
	}
	if r.err != nil {
		_ = r.conn.Close()
		r.conn = nil
		if ctx.Err() != nil { // not the caller's context, whatever the error says
			r.err = attemptError(ctx, "connected, but the member did not answer", nil)
		}
		return r
	}
	if l, ok := r.conn.(transport.Limited); ok {
		r.checks, _ = l.Served()
	}
	usedUp := r.conn.State() >= transport.Draining
	s.found(m, place.Address, usedUp)
	if usedUp { // by the check
		_ = r.conn.Close()
		r.conn, r.err = s.dial(ctx, place)
		r.checks = 0
	}
	return r
}
