package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
)

// endpoints is where the client's members are, and where that is known from.
type endpoints struct {
	c        *Client
	tls      *tls.Config
	srv      *discovery      // nil: the endpoints were given
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup // syncing again and again

	mu sync.Mutex // guards the fields below
	// given are the user's, or what DNS has said. Sync never drops them.
	given   []balance.Endpoint
	learned []learnedEndpoint
	changes int // of given
}

// learnedEndpoint is an address that a member advertises and has answered at.
type learnedEndpoint struct {
	balance.Endpoint
	member uint64
}

// applyLocked makes the set use all known endpoints. It reports false when the set is
// closed.
func (e *endpoints) applyLocked() bool {
	all := slices.Clone(e.given)
	for _, l := range e.learned {
		all = append(all, l.Endpoint)
	}
	if e.srv != nil {
		all = append(all, e.srv.endpoint())
	}
	return e.c.engine.Set.Replace(all)
}

// give replaces the given endpoints and drops those that were learned.
func (e *endpoints) give(list []balance.Endpoint, srv *discovery) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.given, e.learned, e.srv = list, nil, srv
	e.changes++
	return e.applyLocked()
}

// parseEndpoints parses the user's endpoints; errors name field.
func parseEndpoints(field string, list []string, config *tls.Config) ([]balance.Endpoint, error) {
	if len(list) == 0 {
		return nil, errors.New(field + ` is empty; give at least one, like "127.0.0.1:2379"`)
	}
	parsed := make([]balance.Endpoint, len(list))
	seen := make(map[string]int)
	for i, s := range list {
		e, err := balance.ParseEndpoint(s, config)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %w", field, i, err)
		}
		if first, ok := seen[e.Target.Address]; ok {
			return nil, fmt.Errorf("%s[%d] %q is the same as %s[%d]", field, i, s, field, first)
		}
		seen[e.Target.Address] = i
		parsed[i] = e
	}
	return parsed, nil
}

// SetEndpoints replaces the endpoints of the client: those of the Config, what
// DiscoverySRV has found, which is then no longer asked, and what [Client.Sync]
// has learned. They are written as in [Config.Endpoints]; at least
// one is needed. It connects to nothing.
//
// An endpoint that stays keeps its connections. An endpoint that is removed takes no new
// calls: calls in flight finish, its watches move to other members without losing an
// event, leases are renewed elsewhere, and each of its connections is closed with its
// last call. A [KeepAliveStream] stays where it is until it is closed.
//
// Errors: ErrInvalidRequest, whose text names the endpoint at fault, and
// ErrClosed. The endpoints are then as they were.
func (c *Client) SetEndpoints(list []string) error {
	const op = "SetEndpoints"
	parsed, err := parseEndpoints("endpoints", list, c.endpoints.tls)
	if err != nil {
		return invalid(op, err)
	}
	if !c.endpoints.give(parsed, nil) {
		return public(call.Closed(op))
	}
	return nil
}

// Endpoints returns the endpoints in use, as they were written: those that were
// given or that DNS has named, and behind them those that Sync has learned. With
// DiscoverySRV there are none before the first call.
func (c *Client) Endpoints() []string { return c.engine.Set.Endpoints() }
