package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
	"silly.store/etcd/v3compat"
)

// load is the work of all rows, done by one client the way its ordinary user
// would write it. Each method checks the answer's shape and returns an error
// rather than let a wrong answer count as an operation. Safe for concurrent use
// after open.
type load interface {
	open(endpoints []string) error
	close() error

	get(ctx context.Context, key string) error
	put(ctx context.Context, key string, v value) error

	// getAll reads a prefix with one unary call and expects n pairs.
	getAll(ctx context.Context, prefix string, n int) error
	// walk reads a prefix pair by pair without holding it all and expects n pairs.
	walk(ctx context.Context, prefix string, n int, each func()) error

	txnGet(ctx context.Context, keys []string) error
	txnPut(ctx context.Context, keys []string, v value) error

	// watch begins a watch of a key or prefix, from now when revision is 0, and
	// returns when the server has confirmed it. It lasts until stop.
	watch(ctx context.Context, key string, prefix bool, revision int64) (watching, error)

	// keepLease grants a lease and keeps it alive until the client is closed.
	// alive says whether it still is.
	keepLease(ctx context.Context, ttl time.Duration) (alive func() error, err error)
}

// watching is a watch that has begun.
type watching interface {
	// next waits for the next response and returns how many events it has.
	next(ctx context.Context) (int, error)
	stop()
}

// The clients, as a job names them.
const (
	oursName   = "ours"
	plainName  = "ours, plain" // ours with CoalesceOff, whatever the row says
	compatName = "v3compat"    // ours behind client/v3's interfaces
	peerName   = "client/v3"
)

// newLoad is a client that is not open yet; coalesce is what the row asks of ours.
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
	return nil, fmt.Errorf("no client named %q", client)
}

// value is the same bytes in the type that either client takes, so that neither
// pays for a conversion that its user would not make.
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

// expect compares a count in an answer with what was asked for.
func expect(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("%s: %d in the answer, want %d", what, got, want)
	}
	return nil
}
