package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	gresolver "google.golang.org/grpc/resolver"
)

// compatRows returns programs of client/v3, run on it and on v3compat. Only the
// call that makes the client differs.
func compatRows() []row {
	return []row{
		{
			name: "compat-mutex", about: "client/v3's concurrency.Mutex, with one session and one lock per caller; an operation is a Lock and an Unlock",
			callers: []int{16},
			compat:  true,
			run:     runMutex,
		},
		{
			name: "compat-naming", about: "client/v3's naming resolver with 20 endpoints; an operation moves one and waits until the resolver reports it",
			callers: []int{16},
			compat:  true,
			run:     runNaming,
		},
		{
			name: "compat-watch", about: "1,000 clientv3 watches of one key; an operation is a delivery to one of them",
			callers: []int{1},
			compat:  true,
			run:     runFanOut,
		},
	}
}

// v3 is the clientv3.Client of either side.
func (r *round) v3() *clientv3.Client { return r.load.(*peer).c }

// Every caller has its own lock and never waits for another. A waiter would watch
// the lock from an old revision, which etcd serves only every 100 ms.

// compatTTL is long enough to outlive the row.
const compatTTL = 60

func runMutex(ctx context.Context, r *round) (figures, error) {
	locks, ok := r.state.([]*concurrency.Mutex)
	if !ok {
		for i := range r.callers {
			s, err := concurrency.NewSession(r.v3(), concurrency.WithTTL(compatTTL))
			if err != nil {
				return nil, err
			}
			locks = append(locks, concurrency.NewMutex(s, fmt.Sprintf("lock/%s/%d", r.client, i)))
		}
		r.state = locks
	}
	return r.timed(ctx, func(caller int) operation {
		m := locks[caller]
		return operation{do: func(ctx context.Context, _ int) error {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			return m.Unlock(ctx)
		}}
	})
}

// service is a target of the naming resolver and the connection that it updates.
type service struct {
	gresolver.ClientConn // nil: only UpdateState is called
	name                 string
	manager              endpoints.Manager
	told                 chan struct{}
	moved                chan string // the address expected next
	wanted               string
}

const serviceEndpoints = 20

func newService(ctx context.Context, c *clientv3.Client, name string) (*service, error) {
	manager, err := endpoints.NewManager(c, name)
	if err != nil {
		return nil, err
	}
	s := &service{name: name, manager: manager, told: make(chan struct{}, 1), moved: make(chan string, 1)}
	for i := range serviceEndpoints {
		if err := s.move(ctx, i, 0); err != nil {
			return nil, err
		}
	}
	builder, err := resolver.NewBuilder(c)
	if err != nil {
		return nil, err
	}
	// It resolves until the process ends.
	_, err = builder.Build(gresolver.Target{URL: url.URL{Scheme: "etcd", Path: "/" + name}}, s, gresolver.BuildOptions{})
	return s, err
}

// move gives endpoint i another address.
func (s *service) move(ctx context.Context, i, to int) error {
	return s.manager.AddEndpoint(ctx, s.name+"/"+strconv.Itoa(i), endpoints.Endpoint{Addr: address(i, to)})
}

func address(i, to int) string { return fmt.Sprintf("host%d:%d", i, to) }

// UpdateState receives what the resolver has found.
func (s *service) UpdateState(state gresolver.State) error {
	select {
	case s.wanted = <-s.moved:
	default:
	}
	for _, e := range state.Endpoints {
		if e.Addresses[0].Addr == s.wanted {
			s.wanted = ""
			s.told <- struct{}{}
		}
	}
	return nil
}

var errNotTold = errors.New("the resolver has not reported a move within 10 s")

func (s *service) moveAndWait(ctx context.Context, seq int) error {
	i := seq % serviceEndpoints
	s.moved <- address(i, seq+1)
	if err := s.move(ctx, i, seq+1); err != nil {
		return err
	}
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	select {
	case <-s.told:
		return nil
	case <-late.C:
		return errNotTold
	}
}

// namingState is the state of compat-naming between rounds.
type namingState struct {
	services []*service
	moves    []int // of each service
}

func runNaming(ctx context.Context, r *round) (figures, error) {
	state, ok := r.state.(*namingState)
	if !ok {
		state = &namingState{moves: make([]int, r.callers)}
		for i := range r.callers {
			s, err := newService(ctx, r.v3(), fmt.Sprintf("service-%s-%d", url.PathEscape(r.client), i))
			if err != nil {
				return nil, err
			}
			state.services = append(state.services, s)
		}
		r.state = state
	}
	return r.timed(ctx, func(caller int) operation {
		s, moves := state.services[caller], &state.moves[caller]
		return operation{do: func(ctx context.Context, _ int) error {
			*moves++
			return s.moveAndWait(ctx, *moves)
		}}
	})
}
