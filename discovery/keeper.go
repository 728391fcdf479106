package discovery

import (
	"context"
	"errors"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/follow"
)

// A put whose outcome is unknown may be applied much later, even after Close has deleted the
// key. So each put compares the epoch of its session and the last known mod revision of the
// key. After an unknown outcome the epoch is ended first, see concurrency.Session.Fence:
// from then on the old copy is refused, and the result of the next request is final.

// keeper is what run knows about the key.
type keeper struct {
	session *concurrency.Session // of the last put; nil before the first
	leases  map[etcd.LeaseID]bool
	known   int64 // the key's mod revision; 0: there is none, or nothing is known
	put     bool  // the key was put
	putAt   time.Time
	// unknown: a request that compared the epoch has had no answer.
	unknown bool
	epoch   int64
	copies  int // how many requests without an answer the next one follows

	follower *follow.Follower
	seen     int // the follower's epoch
}

// againAfter is how long the key is left alone after a put before it is put again because
// somebody has changed it.
const againAfter = time.Second

// mostLeases is how many of its earlier leases a registration remembers.
const mostLeases = 16

// run is the registration's goroutine. The former one, if there is any, deletes its key first.
func (r *Registration) run(former *Registration) {
	defer close(r.done)
	defer r.strike()
	if former != nil {
		<-former.done
	}
	k := &r.keeper
	k.leases = make(map[etcd.LeaseID]bool)
	k.follower = follow.New(r.co.Client(), follow.Config{Key: r.key})
	defer k.follower.Close()
	err := r.keep()
	if r.life.Err() == nil {
		r.set(func(s *State) { s.Phase, s.Err = Ended, err })
		r.end()
		return
	}
	r.set(func(s *State) { s.Phase = Releasing })
	r.takeBack()
	r.set(func(s *State) { s.Phase, s.Err = Closed, nil })
}

// keep puts the key, again and again, until Close or an error that ends the registration.
func (r *Registration) keep() error {
	pauses := backoff.Backoff{First: 50 * time.Millisecond, Cap: min(r.co.TTL()/2, 5*time.Second)}
	for failures := 0; r.life.Err() == nil; {
		err := r.once()
		switch {
		case err == nil:
			failures = 0
			continue
		case errors.Is(err, ErrSuperseded), errors.Is(err, ErrExists), errors.Is(err, etcd.ErrClosed), errors.Is(err, concurrency.ErrClosed):
			return err
		}
		r.set(func(s *State) { s.Phase, s.Err = Putting, err })
		if !call.Sleep(r.life, pauses.Jittered(failures)) {
			return nil
		}
		failures++
	}
	return nil
}

// once puts what is wanted, and follows the key until it has to be put again.
func (r *Registration) once() error {
	s, err := r.co.Session(r.life)
	if err != nil {
		return err
	}
	if err := r.putWanted(s); err != nil {
		return err
	}
	return r.follow(s)
}

// putWanted puts the key, on the session's lease.
func (r *Registration) putWanted(s *concurrency.Session) error {
	k := &r.keeper
	if k.unknown && k.session != s {
		k.unknown = false // its lease is revoked, and etcd refuses a late copy
	}
	k.session = s
	k.remember(s.Lease().ID)
	for r.life.Err() == nil {
		if err := k.settle(r.life); err != nil {
			return err
		}
		r.mu.Lock()
		w := r.wanted
		r.mu.Unlock()
		mod, err := r.tryPut(s, w)
		if err != nil {
			return err
		}
		if mod > 0 {
			r.note(s, w, mod)
			return nil
		}
	}
	return nil
}

// remember notes that keys with the lease are this registration's.
func (k *keeper) remember(id etcd.LeaseID) {
	if len(k.leases) >= mostLeases {
		clear(k.leases)
	}
	k.leases[id] = true
}

// settle sees that no request of unknown outcome can be applied any more.
func (k *keeper) settle(ctx context.Context) error {
	if !k.unknown {
		return nil
	}
	if err := k.session.Fence(ctx, k.epoch); err != nil {
		return err
	}
	k.unknown = false
	return nil
}

// tryPut makes one Txn. It returns the mod revision of the key when that says what is
// wanted, and 0 when there is to be another Txn, with what was learned.
func (r *Registration) tryPut(s *concurrency.Session, w wanted) (int64, error) {
	k := &r.keeper
	epoch, goesOn := s.Epoch()
	resp, err := r.txn(r.life, etcd.TxnRequest{
		If:   []etcd.Compare{goesOn, etcd.CompareModRevision(r.key, etcd.Equal, k.known)},
		Then: []etcd.Op{etcd.PutRequest{Key: r.key, Value: w.value, Lease: s.Lease().ID}},
		Else: []etcd.Op{etcd.GetRequest{Key: r.key}},
	})
	switch {
	case errors.Is(err, etcd.ErrLeaseNotFound): // the session does not know yet
		return 0, s.Fence(r.life, epoch)
	case err != nil:
		k.unknown, k.epoch = k.unknown || etcd.MaybeApplied(err), epoch
		return 0, err
	case resp.Succeeded:
		return resp.Header.Revision, nil
	}
	kv, _ := resp.Responses[0].Get.First()
	if kv.ModRevision == k.known { // so the epoch was the reason
		return 0, s.Fence(r.life, epoch)
	}
	k.known = kv.ModRevision
	if kv.ModRevision != 0 && kv.Lease == s.Lease().ID && string(kv.Value) == string(w.value) {
		return kv.ModRevision, nil
	}
	return 0, r.mayOverwrite(&kv)
}

// txn makes a request that is made again if no answer comes.
func (r *Registration) txn(ctx context.Context, req etcd.TxnRequest) (*etcd.TxnResponse, error) {
	k := &r.keeper
	resp, err := r.co.Client().Txn(call.WithSafeCopies(ctx, k.copies), req)
	switch {
	case etcd.MaybeApplied(err):
		k.copies++
	case err == nil:
		k.copies = 0
	}
	return resp, err
}

// mayOverwrite says whether a pair that was found at the key may be replaced. The zero pair
// is none.
func (r *Registration) mayOverwrite(kv *etcd.KeyValue) error {
	k := &r.keeper
	switch {
	case kv.ModRevision == 0, k.leases[kv.Lease]:
		return nil
	case !k.put && r.config.NoTakeover:
		return ErrExists
	case k.put && kv.Lease != 0:
		return ErrSuperseded
	}
	return nil
}

// note notes that the key says what was wanted.
func (r *Registration) note(s *concurrency.Session, w wanted, mod int64) {
	k := &r.keeper
	again := k.put && w.generation == r.generation()
	k.known, k.put, k.putAt = mod, true, time.Now()
	r.mu.Lock()
	r.put = w.generation
	r.mu.Unlock()
	r.set(func(st *State) {
		st.Phase, st.Err, st.Revision, st.Lease = Registered, nil, mod, s.Lease().ID
		if again {
			st.Again++
		}
	})
}

// generation is the one that was put last.
func (r *Registration) generation() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put
}

// follow returns nil when the key is to be put again: it was changed, the session has ended,
// or something else is wanted.
func (r *Registration) follow(s *concurrency.Session) error {
	k := &r.keeper
	ctx, cancel := s.Context(r.life)
	defer cancel()
	r.mu.Lock()
	r.poke = cancel
	news := r.wanted.generation != r.put
	r.mu.Unlock()
	for !news {
		step, err := k.follower.Next(ctx)
		switch {
		case ctx.Err() != nil:
			news = true
		case err != nil:
			return err
		default:
			if news, err = r.disturbed(step); err != nil {
				return err
			}
		}
	}
	if s.Err() != nil {
		r.set(func(st *State) { st.Phase, st.Err = Putting, s.Err() })
	}
	return nil
}

// disturbed reports whether a step of the own key means that it has to be put again, and
// waits until that may be done.
func (r *Registration) disturbed(step follow.Step) (bool, error) {
	k := &r.keeper
	reset := k.seen != 0 && k.seen != step.Epoch
	if k.seen == 0 { // the first read is made after a put: it shows an older revision only when the store was set back
		reset = step.Revision < k.known
	}
	k.seen = step.Epoch
	if step.Revision <= k.known && !reset {
		return false, nil // it is the own put, or older
	}
	var kv etcd.KeyValue
	for pair := range k.follower.Pairs() {
		kv = *pair
	}
	if kv.ModRevision == k.known && !reset {
		return false, nil
	}
	k.known = kv.ModRevision
	if err := r.mayOverwrite(&kv); err != nil {
		return false, err
	}
	r.set(func(s *State) { s.Phase, s.Err = Putting, nil })
	call.Sleep(r.life, max(time.Until(k.putAt.Add(againAfter)), 1))
	return true, nil
}

// releasePauses spaces attempts to delete the key.
var releasePauses = backoff.Backoff{First: 20 * time.Millisecond, Cap: time.Second}

// takeBack deletes the key, unless it goes with its lease.
func (r *Registration) takeBack() {
	k := &r.keeper
	if k.session == nil {
		return
	}
	ctx, cancel := k.session.Context(context.Background())
	defer cancel()
	for failures := 0; ctx.Err() == nil; failures++ {
		done, err := r.tryDelete(ctx)
		if done || errors.Is(err, etcd.ErrClosed) {
			return
		}
		if err != nil {
			r.set(func(s *State) { s.Err = err })
			call.Sleep(ctx, releasePauses.Jittered(failures))
		}
	}
}

// tryDelete makes one attempt. done: the key is not this registration's any more, for good.
func (r *Registration) tryDelete(ctx context.Context) (done bool, err error) {
	k := &r.keeper
	if err := k.settle(ctx); err != nil {
		return false, err
	}
	resp, err := r.txn(ctx, etcd.TxnRequest{
		If: []etcd.Compare{
			etcd.CompareModRevision(r.key, etcd.Equal, k.known),
			etcd.CompareLease(r.key, etcd.Equal, k.session.Lease().ID),
		},
		Then: []etcd.Op{etcd.DeleteRequest{Key: r.key}},
		Else: []etcd.Op{etcd.GetRequest{Key: r.key}},
	})
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	kv, there := resp.Responses[0].Get.First()
	k.known = kv.ModRevision
	return !there || kv.Lease != k.session.Lease().ID, nil
}
