package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

const (
	// settle is how long a cluster may take to recover after all faults, and
	// then a watch to catch up.
	settle = 60 * time.Second
	// patience is the timeout of calls without a deliberately short one.
	patience = 5 * time.Second
)

// world is one run: a cluster with a proxy in front of each member, the tested
// clients behind the proxies, and the recorder.
type world struct {
	scenario *Scenario
	client   string
	seed     uint64
	ctx      context.Context // of the whole run
	end      time.Time       // after it no new fault begins; owned by the injecting goroutine

	rec     *history.Recorder
	names   *history.Interner
	cluster *etcdtest.Cluster
	proxies []*etcdtest.Proxy // in the order of the members; owned by the injecting goroutine
	gone    map[string]string // logs of removed members
	oracle  *oracle
	admin   *clientv3.Client // not behind the proxies

	// rootPassword is root's, "" without authentication. The keys of its tokens
	// are in tokenDir.
	rootPassword, tokenDir string

	stores  []store.Store
	values  atomic.Int64 // to make values unique
	process atomic.Int64
	streams atomic.Uint64 // of random numbers
	meter   *meter        // live figures; nil outside a soak
	// epochs is the number of sets of keys, used in turn; 0: always new ones.
	epochs int64

	loads   sync.WaitGroup
	stop    chan struct{} // closed to make loads stop writing
	watches sync.WaitGroup
	final   chan struct{} // closed when finalRevision is known
	// finalRevision is the revision that watches must reach; set before final is closed.
	finalRevision int64
	// locking are the clients of a load of locks.
	locking []*lockClient
	// jobs are the ends of queues of a load of queues, and members those of a load of groups
	// that have joined when the loads have ended.
	jobs    []jobClient
	members []*member
	// caches are those of a load of caches.
	caches       []*cached
	cachesBefore holding // what there was of caches before the load
	// observing are the observers of elections; unobserve ends them.
	observing sync.WaitGroup
	unobserve func()
	// floor is the last revision that the oracle has dropped.
	floor int64
}

// Run runs a scenario with a client and returns its history. logs holds the servers'
// logs; it is nil without servers.
func (s *Scenario) Run(ctx context.Context, client string, seed uint64, d time.Duration) (run *history.Run, logs map[string]string, err error) {
	least := s.least(d)
	if client != store.Names[0] {
		least.Batches = 0 // others do not share requests
	}
	w := &world{
		scenario: s, client: client, seed: seed, ctx: ctx,
		names: history.NewInterner(), gone: make(map[string]string), stop: make(chan struct{}), final: make(chan struct{}),
		rec: history.NewRecorder(history.Run{
			Scenario: s.Name, Number: s.Number, Client: client, Seed: seed,
			Judged: s.Judged, Least: least, LeasesMayEnd: s.LeasesMayEnd,
		}),
	}
	defer func() {
		logs = w.logs()
		err = errors.Join(err, w.close())
	}()
	if err := w.open(); err != nil {
		return nil, nil, err
	}
	pauses, stopPauses := context.WithCancel(ctx)
	var ticking sync.WaitGroup
	ticking.Go(func() { w.rec.Pauses(pauses) })

	w.end = time.Now().Add(d)
	if err := s.run(w); err != nil {
		w.failed("%v", err)
	}
	w.drain()
	stopPauses()
	ticking.Wait()
	return w.rec.Finish(), nil, nil
}

// open starts the cluster, the proxies, the oracle and two clients.
func (w *world) open() (err error) {
	config := w.scenario.Cluster
	config.Config.LogLevel = "warn"
	config.Config.QuotaBytes = 4 << 30
	if w.scenario.TokenTTL > 0 {
		if config.Config.AuthToken, err = w.tokens(w.scenario.TokenTTL); err != nil {
			return err
		}
	}
	if w.cluster, err = etcdtest.NewCluster(config); err != nil {
		return err
	}
	for _, m := range w.cluster.Members() {
		p, err := etcdtest.NewProxy(m.Endpoints()[0])
		if err != nil {
			return err
		}
		w.proxies = append(w.proxies, p)
	}
	if w.scenario.TokenTTL > 0 {
		if err := w.enableAuth(); err != nil {
			return err
		}
	}
	if w.admin, err = w.official(w.cluster.Endpoints()...); err != nil {
		return err
	}
	if w.oracle, err = newOracle(w); err != nil {
		return err
	}
	for range 2 {
		if _, err := w.store(); err != nil {
			return err
		}
	}
	return nil
}

// config returns a driver's configuration for all members behind their proxies.
func (w *world) config() store.Config {
	c := store.Config{Names: w.names, TLS: w.cluster.Members()[0].ClientTLS()}
	if w.rootPassword != "" {
		c.Username, c.Password = appUser, appPassword
	}
	for _, p := range w.proxies {
		c.Endpoints = append(c.Endpoints, p.Endpoint())
	}
	return c
}

// official opens a client for the harness that bypasses the proxies.
func (w *world) official(endpoints ...string) (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints: endpoints, TLS: w.cluster.Members()[0].ClientTLS(), Logger: zap.NewNop(), DialTimeout: 2 * time.Second,
	}
	if w.rootPassword != "" {
		c.Username, c.Password = "root", w.rootPassword
	}
	return clientv3.New(c)
}

// store opens one more client. Every second one also lets writes share requests.
func (w *world) store() (store.Store, error) {
	config := w.config()
	config.CoalesceWrites = len(w.stores)%2 == 1
	s, err := store.Drivers[w.client](config)
	if err == nil {
		w.stores = append(w.stores, s)
	}
	return s, err
}

func (w *world) close() error {
	var errs []error
	for _, s := range w.stores {
		errs = append(errs, s.Close())
	}
	if w.oracle != nil {
		w.oracle.close()
	}
	if w.admin != nil {
		_ = w.admin.Close() // the only error is that it is closed
	}
	for _, p := range w.proxies {
		errs = append(errs, p.Close())
	}
	if w.cluster != nil {
		errs = append(errs, w.cluster.Close())
	}
	if w.tokenDir != "" {
		errs = append(errs, os.RemoveAll(w.tokenDir))
	}
	return errors.Join(errs...)
}

// count adds up the tested clients' counters.
func (w *world) count() {
	sums := make(map[string]int64)
	for _, s := range w.stores {
		for name, n := range s.Counts() {
			sums[name] += n
		}
	}
	w.rec.Change(func(r *history.Run) {
		for i := range r.Locks {
			if r.Locks[i].Granted != 0 {
				sums[history.Grants]++
			}
		}
		r.Counts = sums
	})
}

func (w *world) logs() map[string]string {
	logs := maps.Clone(w.gone)
	if w.cluster != nil {
		for _, m := range w.cluster.Members() {
			logs[m.Name()] = m.Log()
		}
	}
	return logs
}

// failed records a failure of the harness itself.
func (w *world) failed(format string, args ...any) {
	w.rec.Change(func(r *history.Run) { r.Failures = append(r.Failures, fmt.Sprintf(format, args...)) })
}

// random returns a new stream of random numbers. The n-th stream of a seed is always
// the same.
func (w *world) random() *rand.Rand { return rand.New(rand.NewPCG(w.seed, w.streams.Add(1))) }

// value returns a value that no other call writes.
func (w *world) value() string { return fmt.Sprintf("v%d", w.values.Add(1)) }

// over reports whether the time for new faults is over.
func (w *world) over() bool { return !time.Now().Before(w.end) || w.ctx.Err() != nil }

// sleep waits for d; it returns false if the loads were stopped first.
func (w *world) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.stop:
	case <-w.ctx.Done():
	}
	return false
}

// stopped reports whether the loads must end.
func (w *world) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return w.ctx.Err() != nil
	}
}

// drain ends the loads, waits until the cluster has recovered and the oracles and the
// watches have seen everything, and compares the members' hashes.
func (w *world) drain() {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	w.heal(ctx)
	close(w.stop)
	w.loads.Wait()
	w.settleLocks(ctx)
	w.settleQueues(ctx)
	w.settleGroups(ctx)
	revision, err := w.mark(ctx)
	if err == nil {
		err = w.oracle.reach(ctx, revision)
	}
	if err != nil {
		w.failed("%v", err)
	}
	w.finalRevision = revision
	close(w.final)
	w.watches.Wait()
	w.settleCaches()
	hashes, err := w.hashes(ctx, revision)
	if err != nil {
		w.failed("%v", err)
	}
	w.rec.Change(func(r *history.Run) { r.Hashes = hashes })
	w.count()
	truth := w.oracle.truth(revision)
	w.oracle.mu.Lock()
	faults := w.oracle.faults
	w.oracle.mu.Unlock()
	w.rec.Change(func(r *history.Run) { r.Truth, r.OracleFaults = truth, faults })
}

// heal ends all faults and waits until every member serves requests.
func (w *world) heal(ctx context.Context) {
	for _, p := range w.proxies {
		p.Heal()
	}
	w.cluster.Heal()
	for _, m := range w.cluster.Members() {
		if err := m.Ready(ctx); err != nil {
			w.failed("%v", err)
		}
	}
}

// mark writes a last revision.
func (w *world) mark(ctx context.Context) (int64, error) {
	last := ctx.Err()
	for ctx.Err() == nil {
		r, err := w.admin.Put(ctx, check.Own+"end", "end "+w.value())
		if err == nil {
			return r.Header.Revision, nil
		}
		last = err
	}
	return 0, fmt.Errorf("writing the last revision: %w", last)
}

func (w *world) hashes(ctx context.Context, revision int64) ([]history.Hash, error) {
	var hashes []history.Hash
	for _, m := range w.cluster.Members() {
		r, err := w.admin.HashKV(ctx, m.Endpoints()[0], revision)
		if err != nil {
			return nil, fmt.Errorf("hash of member %s: %w", m.Name(), err)
		}
		hashes = append(hashes, history.Hash{Member: m.Name(), Revision: revision, Compact: r.CompactRevision, Hash: r.Hash})
	}
	return hashes, nil
}
