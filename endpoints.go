package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
)

// endpoints is where the client's members are, and where that is known from.
type endpoints struct {
	c        *Client
	tls      *tls.Config
	srv      *srvRecords     // nil: the endpoints were given
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
	replaced := e.c.engine.Set.Replace(all)
	e.c.watches.leaveRemoved()
	return replaced
}

// give replaces the given endpoints and drops those that were learned.
func (e *endpoints) give(list []balance.Endpoint, srv *srvRecords) bool {
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

// SyncResponse is what [Client.Sync] has found.
type SyncResponse struct {
	// Header is that of the member list.
	Header ResponseHeader
	// Endpoints are those in use from now on, as [Client.Endpoints] returns them.
	Endpoints []string
	// Skipped are advertised addresses that are not used, and why not.
	Skipped []SkippedEndpoint
}

// SkippedEndpoint is an address that a member advertises and the client does not
// use.
type SkippedEndpoint struct {
	// Endpoint is the address as the member advertises it.
	Endpoint string
	// Member is the member's ID.
	Member uint64
	// Err is why it is not used: it did not answer, another member did, it is in
	// plain text where TLS is configured, or the member is a learner, which would
	// refuse nearly everything (ErrNotSupportedForLearner).
	Err error
}

// Sync asks the cluster for its members and uses the addresses that they advertise in
// addition to the configured ones, which it never drops. An address is used only once
// its member has answered there: advertised addresses are often not reachable from
// everywhere. A learned address that no member advertises any longer is dropped.
// Several addresses of one member count as one when calls are spread, and the given one
// comes first.
//
// The client's TLS configuration is used for addresses with https, for the host
// in the address unless TLS.ServerName says otherwise; where it is set, plain
// addresses are not used. With DiscoverySRV, DNS is asked first; when that fails
// its last answer is good.
//
// ctx bounds all of it; each address has 5 s to answer.
//
// Errors: those of every call (see [Error]). The endpoints are then as they were.
//
// etcd: Cluster/MemberList (since 3.0)
func (c *Client) Sync(ctx context.Context) (*SyncResponse, error) {
	if ctx == nil {
		return nil, invalid("Sync", errNilContext)
	}
	e := &c.endpoints
	if err := e.resolve(ctx); err != nil {
		c.observer.write(ctx, slog.LevelWarn, "discovery failed", why(err))
	}
	e.mu.Lock()
	given, changes := e.given, e.changes
	e.mu.Unlock()
	var list MemberListResponse
	if err := c.do(ctx, rpc.Sync, &memberListRequest{Linearizable: true}, nil, &list); err != nil {
		return nil, err
	}
	found := e.probe(ctx, given, list.Members)
	if ctx.Err() != nil {
		return nil, public(call.ContextEnded(ctx, rpc.Sync, ""))
	}
	resp := &SyncResponse{Header: list.Header}
	var learned []learnedEndpoint
	for _, f := range found {
		if f.err != nil {
			resp.Skipped = append(resp.Skipped, SkippedEndpoint{f.url, f.member, f.err})
			continue
		}
		learned = append(learned, learnedEndpoint{f.endpoint, f.member})
	}
	if !e.learn(learned, list.Members, changes) {
		return nil, public(call.Closed(rpc.Sync.Op))
	}
	resp.Endpoints = c.Endpoints()
	return resp, nil
}

// advertised is an address that a member advertises, and what answers there.
type advertised struct {
	url      string
	member   uint64
	endpoint balance.Endpoint
	err      error
}

// probe asks every address that is advertised and not given, all at once. The
// given ones are asked too, so that it is known which members they are.
func (e *endpoints) probe(ctx context.Context, given []balance.Endpoint, members []Member) []*advertised {
	found := advertisedBy(members, given, e.tls)
	var asking sync.WaitGroup
	for _, g := range given {
		asking.Go(func() { _, _ = e.c.engine.Set.Identify(ctx, g) })
	}
	for _, f := range found {
		if f.err == nil {
			asking.Go(func() { f.err = e.ask(ctx, f) })
		}
	}
	asking.Wait()
	return found
}

// ask returns why f is not to be used.
func (e *endpoints) ask(ctx context.Context, f *advertised) error {
	id, err := e.c.engine.Set.Identify(ctx, f.endpoint)
	switch {
	case err != nil:
		return public(call.FromTransport(rpc.Sync, f.url, err))
	case id.Learner:
		return ErrNotSupportedForLearner
	case id.Member != 0 && id.Member != f.member:
		return fmt.Errorf("member %x answers there", id.Member)
	}
	return nil
}

// advertisedBy lists the addresses that members advertise, without those that
// are given. An address that cannot be used has an error.
func advertisedBy(members []Member, given []balance.Endpoint, config *tls.Config) []*advertised {
	var list []*advertised
	taken := slices.Clone(given)
	for _, m := range members {
		for _, url := range m.ClientURLs {
			a := &advertised{url: url, member: m.ID}
			a.endpoint, a.err = balance.ParseEndpoint(url, config)
			if m.IsLearner {
				a.err = ErrNotSupportedForLearner
			}
			if a.err == nil && slices.ContainsFunc(taken, a.endpoint.SameAddress) {
				continue
			}
			taken = append(taken, a.endpoint)
			list = append(list, a)
		}
	}
	return list
}

// learn makes the set use the addresses that have answered now, or before and are
// still advertised. It does nothing when the given endpoints have changed since.
// It reports false when the client is closed.
func (e *endpoints) learn(answered []learnedEndpoint, members []Member, changes int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changes != changes {
		return true
	}
	for _, l := range e.learned {
		has := func(o learnedEndpoint) bool { return o.Name == l.Name }
		still := func(m Member) bool {
			return m.ID == l.member && !m.IsLearner && slices.Contains(m.ClientURLs, l.Name)
		}
		if !slices.ContainsFunc(answered, has) && slices.ContainsFunc(members, still) {
			answered = append(answered, l)
		}
	}
	e.learned = answered
	return e.applyLocked()
}

// init prepares e; New calls it.
func (e *endpoints) init(c *Client, config *Config, given []balance.Endpoint) {
	e.c, e.tls, e.srv, e.given = c, config.TLS.Clone(), config.srvRecords(), given
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if config.SyncInterval > 0 {
		e.routines.Go(func() { e.syncAgain(config.SyncInterval) })
	}
}

func (e *endpoints) close() {
	e.cancel()
	e.routines.Wait()
}

// syncAgain is the goroutine of Config.SyncInterval.
func (e *endpoints) syncAgain(interval time.Duration) {
	for call.Sleep(e.ctx, backoff.Jitter(interval, interval/10)) {
		resp, err := e.c.Sync(e.ctx)
		if e.ctx.Err() != nil {
			return
		}
		if err != nil {
			e.c.observer.write(e.ctx, slog.LevelWarn, "sync failed", why(err))
			continue
		}
		for _, s := range resp.Skipped {
			e.c.observer.write(e.ctx, slog.LevelDebug, "advertised endpoint is not used", slog.String("endpoint", s.Endpoint), why(s.Err))
		}
	}
}
