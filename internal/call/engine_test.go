package call

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Configurations of tests: usual has the client's defaults, once makes a single
// attempt.
var (
	usual = Config{Retries: 5, RetrySleep: time.Second, Timeout: 10 * time.Second}
	once  = Config{Timeout: 10 * time.Second}
)

// newEngine makes an engine for a scripted cluster, whose members are the
// endpoints.
func newEngine(t testing.TB, cluster *peertest.Cluster, config Config) *Engine {
	t.Helper()
	for _, m := range cluster.Members() {
		config.Endpoints = append(config.Endpoints, endpointOf(m))
	}
	config.Dial = cluster.Dial
	config.Observer = new(counter)
	e := New(config)
	t.Cleanup(e.Close)
	return e
}

func endpointOf(m *peertest.Member) balance.Endpoint {
	return balance.Endpoint{Name: m.Address, Target: transport.Target{Network: "tcp", Address: m.Address, Authority: m.Address}}
}

// scripted makes an engine with one member, which answers each call with the next
// reply and then repeats the last one.
func scripted(t testing.TB, config Config, replies ...reply) (*Engine, *peertest.Member) {
	t.Helper()
	cluster := peertest.NewCluster("a:1")
	m := cluster.Member("a:1")
	m.Handle(peertest.Script(replies...))
	return newEngine(t, cluster, config), m
}

// counter is an Observer that counts.
type counter struct {
	mu sync.Mutex // guards the field below
	n  counts
}

type counts struct {
	attempts, failures, hedges, calls int
	retries                           []retried
	authentications                   int
}

// retried holds the arguments of a call of Retrying.
type retried struct {
	op      string
	attempt int
	err     *Error
}

// counted returns the counts of e's observer.
func counted(e *Engine) counts {
	c := e.observer.(*counter)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counter) count(change func(*counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.n)
}

func (c *counter) Connected(balance.Connected)       {}
func (c *counter) Disconnected(balance.Disconnected) {}
func (c *counter) Authenticated()                    { c.count(func(n *counts) { n.authentications++ }) }

func (c *counter) AttemptBegins(_ context.Context, a Attempt) Observation {
	c.count(func(n *counts) {
		n.attempts++
		n.calls += a.Calls
		if a.Hedge {
			n.hedges++
		}
	})
	return Observation{Attempt: a}
}

func (c *counter) AttemptEnds(_ Observation, err *Error) {
	if err != nil {
		c.count(func(n *counts) { n.failures++ })
	}
}

func (c *counter) Retrying(_ context.Context, op string, attempt int, _ time.Duration, err *Error) {
	c.count(func(n *counts) { n.retries = append(n.retries, retried{op, attempt, err}) })
}

// do makes a call of m.
func do(ctx context.Context, e *Engine, m *rpc.Method) error {
	_, err := e.Do(ctx, Request{Method: m, Message: []byte("k")})
	return plain(err)
}

// plain converts err to an error that is nil if err is.
func plain(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

// maybeApplied returns the result of the client's MaybeApplied.
func maybeApplied(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.MaybeApplied()
}

// took runs f and reports how long it took.
func took(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// trace lists the calls of m: each method with its token.
func trace(m *peertest.Member) string {
	var list []string
	for _, call := range m.Calls() {
		_, method, _ := strings.Cut(call.Path[1:], "/")
		if call.Token != "" {
			method += "(" + call.Token + ")"
		}
		list = append(list, method)
	}
	return strings.Join(list, " ")
}

type reply = peertest.Reply

var (
	ok       = peertest.OK
	lost     = peertest.Lost
	notSent  = peertest.NotSent
	noLeader = peertest.NoLeader
	busy     = peertest.Busy
	stopped  = peertest.Stopped
	noLease  = peertest.NoLease
	silence  = peertest.Silence
	says     = peertest.Says
)
