package call

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// unobserved is an Observer that does nothing.
type unobserved struct{}

func (unobserved) Connected(balance.Connected)                                                 {}
func (unobserved) Disconnected(balance.Disconnected)                                           {}
func (unobserved) AttemptBegins(context.Context, Attempt) (o Observation)                      { return o }
func (unobserved) AttemptEnds(Observation, *Error)                                             {}
func (unobserved) Retrying(c context.Context, op string, n int, pause time.Duration, e *Error) {}
func (unobserved) Authenticated()                                                              {}

// silent, unreachable, leaderless and tokenless are faults of members.
func silent(m *peertest.Member) {
	m.Handle(peertest.Script(peertest.Silence), rpc.Get.Path, rpc.Put.Path, rpc.TTL.Path)
}
func unreachable(m *peertest.Member) { m.OnDial(peertest.Ignore) }
func leaderless(m *peertest.Member)  { m.Answer(peertest.NoLeader) }
func tokenless(m *peertest.Member) {
	m.Handle(peertest.Script(peertest.Silence), rpc.Authenticate.Path)
}

// A call without a deadline takes at most (Retries+1) attempts of Timeout and Retries
// pauses of RetrySleep, lengthened by a fifth, whatever the fault. The documentation
// of etcd.Config.Timeout promises 66 s with the defaults. A call with a deadline ends
// by its deadline.
func TestLongestCall(t *testing.T) {
	const least, most, deadline = 64 * time.Second, 66 * time.Second, 25 * time.Second
	user := func(context.Context) (Credentials, error) { return Credentials{Username: "u", Password: "p"}, nil }
	slow := func(ctx context.Context) (Credentials, error) {
		<-ctx.Done()
		return Credentials{}, ctx.Err()
	}
	for name, test := range map[string]struct {
		fault       func(*peertest.Member)
		method      *rpc.Method
		members     int
		pinned      bool
		credentials func(context.Context) (Credentials, error)
		is          error // ErrTimeout: each attempt takes all of its time
	}{
		"read, silent":            {silent, rpc.Get, 1, false, nil, ErrTimeout},
		"read, three silent":      {silent, rpc.Get, 3, false, nil, ErrTimeout},
		"read, pinned, silent":    {silent, rpc.TTL, 3, true, nil, ErrTimeout},
		"read, unreachable":       {unreachable, rpc.Get, 1, false, nil, ErrUnavailable},
		"read, three unreachable": {unreachable, rpc.Get, 3, false, nil, ErrUnavailable},
		"read, no leader":         {leaderless, rpc.Get, 3, false, nil, ErrNoLeader},
		"read, no token":          {tokenless, rpc.Get, 1, false, user, ErrTimeout},
		"read, three, no token":   {tokenless, rpc.Get, 3, false, user, ErrTimeout},
		"read, pinned, no token":  {tokenless, rpc.TTL, 3, true, user, ErrTimeout},
		"read, slow credentials":  {silent, rpc.Get, 1, false, slow, ErrNoCredentials},
		"write, silent":           {silent, rpc.Put, 3, false, nil, ErrTimeout},
		"write, unreachable":      {unreachable, rpc.Put, 3, false, nil, ErrUnavailable},
		"write, no leader":        {leaderless, rpc.Put, 1, false, nil, ErrNoLeader},
		"write, no token":         {tokenless, rpc.Put, 3, false, user, ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := faulty(t, test.members, test.fault, Config{AtLeastOnce: true, Credentials: test.credentials})
				r := Request{Method: test.method, Message: []byte{}}
				if test.pinned {
					r.Member = &e.config.Endpoints[0]
				}
				began := time.Now()
				_, err := e.Do(t.Context(), r)
				took := time.Since(began)
				if err == nil || !errors.Is(err, test.is) || err.Attempts != 6 {
					t.Errorf("got %v, want %v after 6 attempts", err, test.is)
				}
				if took > most || test.is == ErrTimeout && took < least { //nolint:errorlint // the table's value
					t.Errorf("it took %v, want %v to %v: %v", took, least, most, err)
				}

				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				began = time.Now()
				_, err = e.Do(ctx, r)
				if took := time.Since(began); took > deadline || err == nil {
					t.Errorf("with a deadline in %v it took %v: %v", deadline, took, err)
				}
			})
		})
	}
}

// A write that may have been applied is not sent again, and takes one attempt.
func TestLongestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := faulty(t, 3, silent, Config{})
		began := time.Now()
		_, err := e.Do(t.Context(), Request{Method: rpc.Put, Message: []byte{}})
		if took := time.Since(began); took != e.config.Timeout || err == nil || !err.MaybeApplied() {
			t.Errorf("it took %v: %v", took, err)
		}
	})
}

// faulty makes an engine with the client's defaults whose members all have the
// fault.
func faulty(t *testing.T, members int, fault func(*peertest.Member), config Config) *Engine {
	cluster := peertest.NewCluster()
	for _, address := range []string{"a:1", "b:1", "c:1"}[:members] {
		fault(cluster.Member(address))
		config.Endpoints = append(config.Endpoints, balance.Endpoint{
			Name: address, Target: transport.Target{Network: "tcp", Address: address},
		})
	}
	config.Dial, config.Observer = cluster.Dial, unobserved{}
	config.Retries, config.RetrySleep, config.Timeout = 5, time.Second, 10*time.Second
	e := New(config)
	t.Cleanup(e.Close)
	return e
}
