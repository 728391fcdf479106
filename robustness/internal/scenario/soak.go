package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/live"
	"silly.store/etcd/robustness/internal/report"
)

const (
	// roundTime is how long faults come before the history is judged and dropped.
	roundTime = 20 * time.Second
	// faultGap is the time between two faults, give or take a quarter.
	faultGap = 2 * time.Second
	// soakEpochs is the number of sets of keys. The warm-up uses all of them.
	soakEpochs = 10
	// progressInterval is how often the servers send progress to idle watches.
	progressInterval = 5 * time.Second
	// growth is the factor by which memory and goroutines may grow.
	growth = 1.05
)

// Soak is a mixed load under random faults for any length of time. It is judged in
// rounds and drops their histories, so that its memory does not grow with time.
type Soak struct {
	Client string
	Seed   uint64
	Time   time.Duration // under faults
	Warm   time.Duration // with few faults, before and after; 0 means 10 s
	// Keep is called with the history of each round with a violation.
	Keep func(round int, run *history.Run, logs map[string]string) error

	w       *world
	meter   *meter
	result  report.Soak
	watches []*keptWatch
	leases  []*keptLease
	lost    sync.WaitGroup // one per lease, until it is over
	before  *history.Before
	bag     bag
	faults  int
	began   int64             // when the window began
	point   *report.SoakPoint // of the window, nil if it has none
}

// Open starts the cluster and the clients. Run must follow.
func (s *Soak) Open() error {
	runtime.MemProfileRate = profileRate
	if s.Warm == 0 {
		s.Warm = 10 * time.Second
	}
	setting := &Scenario{Name: "soak", LeasesMayEnd: true, Cluster: etcdtest.ClusterConfig{PeerProxies: true, Config: etcdtest.Config{WatchProgressInterval: progressInterval}}}
	w := &world{
		scenario: setting, client: s.Client, seed: s.Seed, ctx: context.Background(), names: history.NewInterner(), gone: make(map[string]string), epochs: soakEpochs,
		rec: history.NewRecorder(history.Run{
			Scenario: setting.Name, Client: s.Client, Seed: s.Seed,
			Judged: append([]string{"I1", "I2", "I3", "I4", "I5", "I7", "I8"}, lockJudged...), LeasesMayEnd: true,
		}),
	}
	s.w = w
	s.meter = &meter{leases: make(map[*heldLease]bool), now: w.rec.Now}
	s.meter.figures = live.Figures{Client: s.Client, Seed: s.Seed, Total: s.Time, Phase: "starting"}
	w.meter = s.meter
	if err := w.open(); err != nil {
		return errors.Join(err, w.close())
	}
	s.meter.oracle = w.oracle
	s.bag.random = w.random()
	s.result = report.Soak{Client: s.Client, Seed: s.Seed, Asked: s.Time, Faults: make(map[string]int)}
	return nil
}

// Figures returns the current figures. It may be called during Run.
func (s *Soak) Figures() live.Figures { return s.meter.look() }

// Run runs until the time is over or ctx has ended, and judges what happened.
func (s *Soak) Run(ctx context.Context) (*report.Soak, error) {
	pauses, stopPauses := context.WithCancel(context.Background())
	var ticking sync.WaitGroup
	ticking.Go(func() { s.w.rec.Pauses(pauses) })
	began := time.Now()
	s.loads()
	if err := s.phases(ctx); err != nil {
		s.result.Failures = append(s.result.Failures, err.Error())
	}
	s.result.Took = time.Since(began)
	stopPauses()
	ticking.Wait()
	f := s.meter.look()
	s.result.NotSent, s.result.Rejected, s.result.Unknown = f.NotSent, f.Rejected, f.Unknown
	err := s.w.close()
	s.lost.Wait() // the leases end with the clients
	return &s.result, err
}

// phases runs the warm-up, the rounds under faults and the cool-down.
func (s *Soak) phases(ctx context.Context) error {
	if err := s.quiet(ctx, "warming up"); err != nil {
		return err
	}
	before := s.measure()
	s.meter.change(func(f *live.Figures) { f.HeapBefore = uint64(before.heap) })

	s.meter.start()
	end := time.Now().Add(s.Time)
	for time.Now().Before(end) && ctx.Err() == nil {
		if err := s.window("under faults", false, func() { s.inject(ctx, end) }); err != nil {
			return err
		}
	}
	s.result.Interrupted = ctx.Err() != nil
	if err := s.quiet(context.Background(), "cooling down"); err != nil {
		return err
	}
	s.usage(before, s.measure())
	s.meter.change(func(f *live.Figures) { f.Phase = "over" })
	return nil
}

// loads creates the loads that span windows.
func (s *Soak) loads() {
	w := s.w
	everything := history.Filter{Key: "k/", FromKey: true, Progress: true}
	kept := []history.Filter{
		everything, everything, {Key: "k/", Prefix: true, PrevKV: true}, {Key: "w/", Prefix: true, PrevKV: true},
		{Key: "lease/", Prefix: true}, {Key: "k/", Prefix: true, NoPut: true}, {Key: "w/03"}, {Key: "nothing", Progress: true},
	}
	for i, f := range kept {
		kind := watching{filters: []history.Filter{f}}
		s.watches = append(s.watches, &keptWatch{watchSlot: watchSlot{w: w, s: w.stores[i%2], kind: kind, random: w.random()}})
	}
	for i := range 20 {
		s.leases = append(s.leases, &keptLease{
			caller:    caller{w: w, s: w.stores[i%2], random: w.random(), process: int(w.process.Add(1))},
			followers: &s.lost,
		})
	}
}

// quiet runs a window with few faults that ends with idle clients.
func (s *Soak) quiet(ctx context.Context, phase string) error {
	return s.window(phase, true, func() {
		for _, c := range briefFaults {
			if !s.injectOne(ctx, c) {
				return
			}
		}
		rest(ctx, s.Warm)
	})
}

// window runs the loads for as long as during runs, and judges the history. Before
// idleness it closes the watches and revokes the leases.
func (s *Soak) window(phase string, ending bool, during func()) error {
	w := s.w
	w.stop, w.final, w.finalRevision = make(chan struct{}), make(chan struct{}), 0
	s.meter.change(func(f *live.Figures) { f.Phase = phase; f.Watches = len(s.watches) + shortWatches })
	w.rec.Change(func(r *history.Run) { r.Before, r.Number = s.before, s.result.Rounds })
	for _, k := range s.watches {
		k.ending = ending
		w.watches.Go(k.window)
	}
	for _, k := range s.leases {
		k.ending = ending
		w.loads.Go(k.window)
	}
	w.keys(callers, pace)
	filters := append(w.churn(1, 10*time.Millisecond), keyFilters...)
	w.watchers(shortWatches, watching{filters: filters, back: 300, ahead: 100, life: 4 * time.Second})
	w.loads.Go(func() {
		for w.sleep(300 * time.Millisecond) {
			w.scan(w.stores[rand.N(len(w.stores))], "w/")
		}
	})
	if err := w.locks(locking{wants: every, alone: true, near: true}); err != nil {
		return err
	}
	s.meter.reads(s.watches[:2])
	during()
	s.meter.change(func(f *live.Figures) { f.Phase = "healing" })
	s.meter.reads(nil)
	w.drain()
	s.meter.change(func(f *live.Figures) { f.Phase = "judging" })
	if err := s.judge(w.cut(w.finalRevision, s.watches)); err != nil {
		return err
	}
	if s.point != nil {
		s.point.Heap = heap()
	}
	return nil
}

// shortWatches opens watches that last a few seconds.
const shortWatches = 10

// inject injects faults until the round is over.
func (s *Soak) inject(ctx context.Context, end time.Time) {
	if round := time.Now().Add(roundTime); round.Before(end) {
		end = round
	}
	for s.rest(ctx, faultGap); time.Now().Before(end) && ctx.Err() == nil; s.rest(ctx, faultGap) {
		if !s.injectOne(ctx, s.bag.next()) {
			return
		}
	}
}

// injectOne injects a fault and ends it. It returns false if that failed.
func (s *Soak) injectOne(ctx context.Context, c cycle) bool {
	w := s.w
	done := w.rec.Fault(history.Fault{Name: c.name, OneMember: c.oneMember})
	s.meter.faulty(c.name)
	heal, err := c.inject(w, s.faults)
	if err == nil {
		s.rest(ctx, c.hold)
		err = heal()
	}
	done()
	s.meter.faulty("")
	s.faults++
	if err != nil {
		w.failed("%s: %v", c.name, err)
	}
	return err == nil
}

// rest waits for d, give or take a quarter, or until ctx has ended.
func (s *Soak) rest(ctx context.Context, d time.Duration) {
	rest(ctx, d*3/4+time.Duration(s.bag.random.Int64N(int64(d/2)+1)))
}

// judge judges a window and drops it.
func (s *Soak) judge(run *history.Run) error {
	findings := check.Judge(run)
	broken := s.result.Add(run, findings)
	s.point = s.result.Point(run, s.began)
	s.began = int64(run.Took)
	s.meter.change(func(f *live.Figures) {
		f.Rounds, f.Violations, f.Troubles = s.result.Rounds, s.result.Broken(), len(s.result.Failures)
		for _, x := range findings {
			f.Checked += x.Checked
		}
	})
	if broken && s.Keep != nil {
		if err := s.Keep(s.result.Rounds, run, s.w.logs()); err != nil {
			return err
		}
	}
	if s.w.finalRevision == 0 {
		return fmt.Errorf("the cluster did not come back: %v", run.Failures)
	}
	w := s.w
	w.floor = w.finalRevision
	s.before = check.After(run)
	s.before.Compacted = w.floor
	w.oracle.drop(w.floor)
	w.names.Forget()
	return w.persist(func() error {
		_, err := w.admin.Compact(w.ctx, w.floor)
		return compacted(err)
	})
}

// measure returns the resource use of idle clients without connections: their
// number varies, and each has goroutines and buffers here and in the proxies. It
// waits until the measurements have been stable for a while.
func (s *Soak) measure() holdings {
	s.meter.change(func(f *live.Figures) { f.Phase = "measuring memory" })
	for _, p := range s.w.proxies {
		p.Reset()
	}
	const same, most, pulse = 4, 60, 250 * time.Millisecond
	var last holdings
	for i, n := 0, 0; i < most && n < same; i++ {
		time.Sleep(pulse)
		h := measured()
		if h.alike(last) {
			n++
		} else {
			n = 0
		}
		last = h
	}
	return last
}

// usage records the resource use before and after, with the proxies' share as it was
// before.
func (s *Soak) usage(before, after holdings) {
	heap := after.heap - after.proxies + before.proxies
	s.result.Usage = []history.Usage{
		{What: "heap bytes", Invariant: "I9", Before: before.heap, After: heap, Most: before.heap * growth},
		{What: "goroutines", Invariant: "I9", Before: before.goroutines, After: after.goroutines, Most: before.goroutines * growth},
	}
}

// rest waits for d, or until ctx has ended.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
