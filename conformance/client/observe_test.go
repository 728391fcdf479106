package client

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// events records the calls of hooks and a logger.
type events struct {
	mu           sync.Mutex // guards the fields below
	attempts     []etcd.AttemptInfo
	results      []etcd.AttemptResult
	retries      []etcd.RetryInfo
	connected    []etcd.ConnectInfo
	disconnected []etcd.DisconnectInfo
	stale        []etcd.WatchStaleInfo
	resumed      []etcd.WatchResumeInfo
	delivered    []etcd.WatchDeliverInfo
	ended        []etcd.WatchEndInfo
	granted      []etcd.LeaseGrantInfo
	lost         []etcd.LeaseLossInfo
	renewed      []etcd.LeaseRenewInfo
	log          bytes.Buffer
}

func (e *events) Write(line []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(line)
}

func note[T any](e *events, list *[]T) func(T) {
	return func(v T) {
		e.mu.Lock()
		defer e.mu.Unlock()
		*list = append(*list, v)
	}
}

func (e *events) hooks() etcd.Hooks {
	attempt, ended := note(e, &e.attempts), note(e, &e.results)
	return etcd.Hooks{
		Attempt: func(_ context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
			attempt(a)
			return ended
		},
		Retry:          note(e, &e.retries),
		Connected:      note(e, &e.connected),
		Disconnected:   note(e, &e.disconnected),
		WatchDelivered: note(e, &e.delivered),
		WatchStale:     note(e, &e.stale),
		WatchResumed:   note(e, &e.resumed),
		WatchEnded:     note(e, &e.ended),
		LeaseGranted:   note(e, &e.granted),
		LeaseLost:      note(e, &e.lost),
		LeaseRenewed:   note(e, &e.renewed),
	}
}

// until waits for a condition on the recorded events.
func (e *events) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		done := ok()
		e.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never told of %s", what)
		}
	}
}

// observed is a client behind a proxy whose hooks and logger fill the events.
func observed(t *testing.T, config etcd.Config) (*etcd.Client, *etcdtest.Proxy, *events) {
	proxy, told := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0]), new(events)
	config.Endpoints = []string{proxy.Endpoint()}
	config.Hooks = told.hooks()
	config.Logger = slog.New(slog.NewTextHandler(told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return connect(t, config), proxy, told
}

func TestHooksSeeCallsAndConnections(t *testing.T) {
	c, proxy, told := observed(t, etcd.Config{Timeout: time.Second, RetrySleep: time.Millisecond})
	key := ownKeys(t) + "secret-key"
	put(t, c, key, "secret-value")
	told.until(t, "the attempt", func() bool { return len(told.results) == 1 })
	if a := told.attempts[0]; a.Op != "Put" || a.Endpoint != proxy.Endpoint() || a.Hedge {
		t.Errorf("the attempt is %+v", a)
	}
	if r := told.results[0]; r.Err != nil || r.Duration <= 0 {
		t.Errorf("its result is %+v", r)
	}
	told.until(t, "the connection", func() bool { return len(told.connected) == 1 }) // perhaps after the call
	if got := told.connected[0]; got.Err != nil || got.Purpose != etcd.ForCalls || got.Duration <= 0 {
		t.Errorf("the connection is %+v", got)
	}

	proxy.Set(etcdtest.ToClient, etcdtest.Fault{Stall: true})
	got := make(chan error, 1)
	go func() {
		_, err := c.Get(context.Background(), etcd.GetRequest{Key: key})
		got <- err
	}()
	told.until(t, "a retry", func() bool { return len(told.retries) > 0 })
	proxy.Heal()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if r := told.retries[0]; r.Op != "Get" || r.Attempt != 1 || !errors.Is(r.Err, etcd.ErrTimeout) {
		t.Errorf("the retry is %+v", r)
	}

	proxy.Reset()
	told.until(t, "the end of the connection", func() bool { return len(told.disconnected) > 0 })
	if d := told.disconnected[0]; d.Err == nil || d.Lived <= 0 || d.Purpose != etcd.ForCalls {
		t.Errorf("the end is %+v", d)
	}
	told.until(t, "it in the log", func() bool { return strings.Contains(told.log.String(), "msg=disconnected") })
	for _, secret := range []string{"secret-key", "secret-value"} {
		if strings.Contains(told.log.String(), secret) {
			t.Errorf("the log has %q in it:\n%s", secret, told.log.String())
		}
	}
	if s := c.Stats(); s.Attempts < 3 || s.Failures < 1 || s.Retries < 1 || s.Connects < 1 || s.Disconnects < 1 {
		t.Errorf("the statistics are %+v", s)
	}
}

func TestHooksSeeAWatchResume(t *testing.T) {
	c, proxy, told := observed(t, etcd.Config{})
	key := ownKeys(t)
	w, err := c.Watch(t.Context(), etcd.WatchRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Watches != 1 || s.WatchStreams != 1 || s.WatchesWaiting != 0 {
		t.Errorf("the statistics are %+v", s)
	}
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	proxy.Reset()
	missed := put(t, connect(t, etcd.Config{}), key, "v")
	proxy.Heal()
	told.until(t, "the watch", func() bool { return len(told.resumed) == 1 })
	r := told.resumed[0]
	if r.Key != key || r.Endpoint != proxy.Endpoint() || r.Revision != w.Revision() || r.Behind < 1 || r.Interrupted <= 0 {
		t.Errorf("it resumed with %+v; it was started at %d and missed %d", r, w.Revision(), missed)
	}
	if resp, err := w.Read(within(t, 10*time.Second)); err != nil || resp.Events[0].KV.ModRevision != missed {
		t.Errorf("it delivers %+v, %v", resp, err)
	}
	if s := c.Stats(); s.WatchResumes != 1 {
		t.Errorf("the statistics are %+v", s)
	}
}

func TestStatsTellOfEndpoints(t *testing.T) {
	gone := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	endpoints := []string{testbed.Shared.Endpoints()[0], gone.Endpoint()}
	c := connect(t, etcd.Config{Endpoints: endpoints})
	for _, e := range c.Stats().Endpoints {
		if e.State != etcd.EndpointIdle || e.Connections != 0 {
			t.Errorf("before any call: %+v", e)
		}
	}
	for end := time.Now().Add(time.Minute); ; {
		get(t, c, etcd.GetRequest{Key: "k"})
		s := c.Stats().Endpoints
		if s[0].State == etcd.EndpointReady && s[0].Connections == 1 && s[0].LastError == "" &&
			s[1].State == etcd.EndpointDown && s[1].Connections == 0 && s[1].LastError != "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the statistics are %+v", s)
		}
	}
}

func TestHooksSeeLeases(t *testing.T) {
	c, proxy, told := observed(t, etcd.Config{})
	kept := granted(t, c, 2*time.Second)
	told.until(t, "a renewal", func() bool { return len(told.renewed) > 0 })
	r := told.renewed[0]
	if r.ID != kept.ID || r.Endpoint != proxy.Endpoint() || r.TTL != 2*time.Second || r.Margin <= 0 || r.Margin >= r.TTL {
		t.Errorf("the renewal is %+v", r)
	}
	revoke(t, connect(t, etcd.Config{}), kept.ID) // behind the client's back
	<-kept.Done()
	told.until(t, "the loss", func() bool { return strings.Contains(told.log.String(), `msg="lease lost" lease=`+kept.ID.String()) })
	told.until(t, "the loss, by the hook", func() bool { return len(told.lost) > 0 })
	if l := told.lost[0]; l.ID != kept.ID || !errors.Is(l.Err, etcd.ErrLeaseExpired) || l.Err.Error() != kept.Err().Error() {
		t.Errorf("lost is %+v, the lease's error %v", l, kept.Err())
	}
	mine := granted(t, c, time.Minute)
	if g := told.granted; len(g) != 2 || g[0] != (etcd.LeaseGrantInfo{ID: kept.ID, TTL: 2 * time.Second}) || g[1] != (etcd.LeaseGrantInfo{ID: mine.ID, TTL: time.Minute}) {
		t.Errorf("granted are %+v", g)
	}
	if s := c.Stats(); s.Leases != 1 || s.LeasesLost != 1 || s.Renewals < 1 {
		t.Errorf("the statistics are %+v", s)
	}
	revoke(t, c, mine.ID)
	if s := c.Stats(); s.Leases != 0 || s.LeasesLost != 1 {
		t.Errorf("after Revoke the statistics are %+v", s)
	}
	if len(told.lost) != 1 {
		t.Errorf("what was revoked by its client is lost too: %+v", told.lost)
	}
}

// A delivery is reported when the reader gets it, with how long it has waited for the reader
// and how far behind the store it was; the end is reported by whatever it comes.
func TestHooksSeeDeliveriesAndEnds(t *testing.T) {
	c, _, told := observed(t, etcd.Config{})
	p := ownKeys(t)
	first := put(t, c, p+"a", "1")
	for range 4 {
		put(t, c, p+"a", "value")
	}
	w, err := c.Watch(testbed.Within(t, testbed.Patience), etcd.WatchRequest{Key: p, Prefix: true, Revision: first})
	if err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the events to wait for their reader", func() bool { return w.State().BufferedBytes > 0 })
	if len(told.delivered) != 0 {
		t.Errorf("delivered before anybody reads: %+v", told.delivered)
	}
	waiting := time.Now()
	testbed.Eventually(t, "some lag", func() bool { return time.Since(waiting) > 50*time.Millisecond })
	resp, err := w.Read(testbed.Within(t, testbed.Patience))
	if err != nil {
		t.Fatal(err)
	}
	if len(told.delivered) != 1 {
		t.Fatalf("delivered %+v", told.delivered)
	}
	d := told.delivered[0]
	last := resp.Events[len(resp.Events)-1].KV.ModRevision
	if d.Key != p || d.Events != len(resp.Events) || d.Bytes < len("value") || d.Lag < 50*time.Millisecond || d.Behind != resp.Header.Revision-last {
		t.Errorf("delivered %+v of %+v", d, resp)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told.ended) != 1 || told.ended[0].Key != p || !errors.Is(told.ended[0].Err, etcd.ErrWatchClosed) {
		t.Errorf("ended %+v", told.ended)
	}
}
