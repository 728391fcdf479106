package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
	"silly.store/etcd/v3compat"
)

// load is the work of all rows, written for one client as an ordinary user of it
// would write it. Each method checks the answer's shape and returns an error
// instead of counting a wrong answer as an operation. Safe for concurrent use
// after open.
type load interface {
	open(t target) error
	close() error

	get(ctx context.Context, key string) error
	put(ctx context.Context, key string, v value) error
	// putOnce is put, exactly once where the client can do that.
	putOnce(ctx context.Context, key string, v value) error

	// getAll reads a prefix with one unary call and checks for n pairs.
	getAll(ctx context.Context, prefix string, n int) error
	// walk reads a prefix pair by pair, without holding all of it, and checks for n pairs.
	walk(ctx context.Context, prefix string, n int, each func()) error

	txnGet(ctx context.Context, keys []string) error
	txnPut(ctx context.Context, keys []string, v value) error

	// watch begins a watch of a key or prefix, from now if revision is 0, and
	// returns once the server has confirmed it. The watch lasts until stop.
	watch(ctx context.Context, key string, prefix bool, revision int64) (watching, error)

	// keepLease grants a lease and keeps it alive until the client closes.
	// alive reports whether the lease still lives.
	keepLease(ctx context.Context, ttl time.Duration) (alive func() error, err error)

	// transfer moves 1 from one account to another, atomically.
	transfer(ctx context.Context, from, to string) error

	// numbers returns a function that takes a number from the sequence of that name.
	numbers(name string) (next func(context.Context) error, err error)

	// jobs returns the work queue of that name.
	jobs(name string) (jobQueue, error)

	// cached returns a way to read a prefix again and again, which holds all of it.
	cached(ctx context.Context, prefix string) (reading, error)

	// contender returns a contender for mutexes; contenders exclude each other.
	contender(ctx context.Context) (contender, error)
	// elect wins an election and observes it until ctx ends.
	elect(ctx context.Context, name string) (election, error)
}

// jobQueue is a work queue. Safe for concurrent use.
type jobQueue interface {
	// add adds a job.
	add(ctx context.Context) error
	// finishOne takes one and finishes it.
	finishOne(ctx context.Context) error
}

// contender asks for one mutex at a time. It is for one goroutine.
type contender interface {
	// cycle locks and unlocks.
	cycle(ctx context.Context, name string) error
	// hold calls f in between.
	hold(ctx context.Context, name string, f func() error) error
	// another returns one for another goroutine and other mutexes: the two may not exclude
	// each other.
	another() contender
}

// election is one that the client has won. told has the values that an observer received,
// in order, and is closed when that has ended.
type election struct {
	proclaim func(ctx context.Context, value string) error
	told     <-chan string
}

// nothing is what cycle does between.
func nothing() error { return nil }

// watching is a watch that has begun.
type watching interface {
	// next waits for the next response and returns its number of events.
	next(ctx context.Context) (int, error)
	stop()
}

// The clients, as a job names them.
const (
	oursName   = "ours"
	plainName  = "ours, plain" // ours with CoalesceOff, whatever the row sets
	compatName = "v3compat"    // ours behind client/v3's interfaces
	peerName   = "client/v3"
)

// newLoad returns a client that is not open yet; coalesce is the row's setting for ours.
func newLoad(client string, coalesce etcd.Coalesce) (load, error) {
	switch client {
	case oursName:
		return &ours{coalesce: coalesce}, nil
	case plainName:
		return &ours{coalesce: etcd.CoalesceOff}, nil
	case compatName:
		return &peer{make: v3compat.New}, nil
	case peerName:
		return &peer{make: clientv3.New}, nil
	}
	if v, ok := variants[client]; ok {
		return &ours{coalesce: coalesce, variant: v}, nil
	}
	return nil, fmt.Errorf("no client named %q", client)
}

// share calls do for each number below n, from so many goroutines. One ends with its first
// error.
func share(n, goroutines int, do func(i int) error) error {
	errs := make([]error, goroutines)
	var sharing sync.WaitGroup
	for g := range errs {
		sharing.Go(func() {
			for i := g; i < n && errs[g] == nil; i += goroutines {
				errs[g] = do(i)
			}
		})
	}
	sharing.Wait()
	return errors.Join(errs...)
}

// value holds the same bytes in both clients' types, so that neither pays for a
// conversion that its user would not make.
type value struct {
	bytes []byte
	text  string
}

func newValue(size int) value {
	text := strings.Repeat("v", size)
	return value{bytes: []byte(text), text: text}
}

func newKeys(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%08d", prefix, i)
	}
	return keys
}

// expect compares a count in an answer with the expected one.
func expect(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("%s: %d in the answer, want %d", what, got, want)
	}
	return nil
}
