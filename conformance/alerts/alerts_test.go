package alerts

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	etcdprom "silly.store/etcd/prom"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// program is what the alerts watch over: a client with its metrics, a key that it puts, a
// watch that it reads and a lease that it keeps, behind a network that can fail.
type program struct {
	t     testing.TB
	c     *etcd.Client
	proxy *etcdtest.Proxy
	watch *etcd.Watcher
	lease *etcd.Lease
	seen  *server
}

// run starts a program and the Prometheus that scrapes it, and sees it healthy for half an
// hour: no alert fires.
func run(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, proxy: etcdtest.StartProxy(t, etcdtest.Start(t).Endpoints()[0])}
	reg := prometheus.NewPedanticRegistry()
	hooks, err := etcdprom.Hooks(reg)
	if err != nil {
		t.Fatal(err)
	}
	p.c, err = etcd.New(etcd.Config{
		Endpoints: []string{p.proxy.Endpoint()}, Hooks: hooks, Retry: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.c.Close() })
	reg.MustRegister(etcdprom.New(p.c))
	p.seen = prometheusOf(t, reg)
	p.seen.step()

	ctx := p.within(20 * time.Second)
	if p.watch, err = p.c.Watch(ctx, etcd.WatchRequest{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.watch.Close() })
	if p.lease, err = p.c.Grant(ctx, etcd.GrantRequest{TTL: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for range 120 {
		p.put()
		p.read()
		for _, a := range p.seen.step() {
			t.Errorf("%s fires without a fault: %v", a.rule.Alert, a.labels)
		}
	}
	return p
}

func (p *program) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	p.t.Cleanup(cancel)
	return ctx
}

func (p *program) put() {
	p.t.Helper()
	if _, err := p.c.Put(p.within(20*time.Second), etcd.PutRequest{Key: "k"}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) read() {
	p.t.Helper()
	if _, err := p.watch.Read(p.within(20 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
}

// eventually waits until the client shows what a fault does.
func (p *program) eventually(what string, f func(*etcd.Stats) bool) {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for {
		if s := p.c.Stats(); f(&s) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			p.t.Fatalf("waited in vain for %s: %+v", what, p.c.Stats())
		}
	}
}

// TestAlerts has one test a rule: the fault that the rule is for, and the alert. The
// neighbours are what fires beside it by the same fault.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards the field below
	fired := make(map[string]bool)
	t.Run("each", func(t *testing.T) {
		for name, test := range map[string]struct {
			fault      func(*program)
			neighbours []string
		}{
			"EtcdClientEndpointDown":   {memberGone, []string{"EtcdClientWatchesStale", "EtcdClientLeasesLost"}},
			"EtcdClientCallsFail":      {callsTimeOut, []string{"EtcdClientEndpointDown", "EtcdClientWatchesStale", "EtcdClientLeasesLost"}},
			"EtcdClientOutcomeUnknown": {answerLost, nil},
			"EtcdClientWatchesStale":   {memberGone, []string{"EtcdClientEndpointDown", "EtcdClientLeasesLost"}},
			"EtcdClientLeasesLost":     {leaseRevoked, nil},
			"EtcdClientSlowReader":     {readerSlow, nil},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := run(t)
				test.fault(p)
				a, strangers := p.seen.until(name)
				if a.rule.Alert == "" {
					t.Fatalf("the alert has not fired; %v have", strangers)
				}
				for _, s := range strangers {
					if !slices.Contains(test.neighbours, s) {
						t.Errorf("%s has fired too", s)
					}
				}
				wantLabels(t, a)
				mu.Lock()
				fired[name] = true
				mu.Unlock()
			})
		}
	})
	for _, rule := range prometheusOf(t, prometheus.NewRegistry()).rules {
		if !fired[rule.Alert] {
			t.Errorf("no fault makes %s fire", rule.Alert)
		}
	}
}

// wantLabels holds the text of an alert against its labels: one that is missing is an empty
// word in somebody's pager.
func wantLabels(t *testing.T, a alert) {
	t.Helper()
	named := regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a.rule.Annotations["summary"], -1)
	if len(named) == 0 {
		t.Errorf("the summary of %s names no label", a.rule.Alert)
	}
	for _, n := range named {
		if a.labels.Get(n[1]) == "" {
			t.Errorf("the summary of %s names %s, which is not among %v", a.rule.Alert, n[1], a.labels)
		}
	}
}

// memberGone ends the connections and refuses others.
func memberGone(p *program) {
	if err := p.proxy.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.eventually("the loss of the member", func(s *etcd.Stats) bool {
		return s.WatchesWaiting == 1 && s.Endpoints[0].State == etcd.EndpointDown
	})
}

// callsTimeOut has a network that loses what members say, and reads that wait for it.
func callsTimeOut(p *program) {
	p.proxy.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	for range 8 {
		if _, err := p.c.Get(p.within(20*time.Millisecond), etcd.GetRequest{Key: "k"}); !errors.Is(err, context.DeadlineExceeded) {
			p.t.Fatal(err)
		}
		p.seen.step()
	}
}

// answerLost loses the answer to the first write of its kind, and heals. What counts it must
// have been zero before: Prometheus sees no increase in what appears as one.
func answerLost(p *program) {
	p.proxy.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	if _, err := p.c.Delete(p.within(time.Second), etcd.DeleteRequest{Key: "other"}); !etcd.MaybeApplied(err) {
		p.t.Fatal(err)
	}
	p.proxy.Set(etcdtest.ToClient, etcdtest.Fault{})
	p.eventually("the connections", func(s *etcd.Stats) bool {
		return s.WatchesWaiting == 0 && s.Endpoints[0].State == etcd.EndpointReady
	})
}

// leaseRevoked has a stranger revoke the program's lease.
func leaseRevoked(p *program) {
	stranger, err := etcd.New(etcd.Config{Endpoints: []string{p.proxy.Endpoint()}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Revoke(p.within(20*time.Second), etcd.RevokeRequest{ID: p.lease.ID}); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.lease.Done():
	case <-p.within(20 * time.Second).Done():
		p.t.Fatal("the program has not lost its lease")
	}
}

// readerSlow has a reader that takes more than a second for what it has read before: that
// second is the fault, not a wait for something.
func readerSlow(p *program) {
	p.put()
	<-time.After(1100 * time.Millisecond)
	p.read()
}
