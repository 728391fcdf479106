package scenario

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// ContenderArg is the hidden argument that runs this program as a process of contenders. It
// reads a [contenderJob] from its standard input, writes what its contenders do to its
// standard output, and ends when its input does.
const ContenderArg = "robustness-contender"

// contenderJob is what a process of contenders does.
type contenderJob struct {
	Client     string
	Endpoints  []string
	TTL        time.Duration
	Wants      []history.Want
	Contenders int
	Long       time.Duration
	// Process is the number of its first contender, Seed that of its random choices.
	Process int
	Seed    uint64
}

// contenderEvent is one thing that a contender has done. Its times are those of the wall
// clock, in nanoseconds, which two processes share.
type contenderEvent struct {
	Lock   *history.Lock   `json:",omitempty"`
	Fenced *history.Fenced `json:",omitempty"`
}

// RunContenders is the main function of a process of contenders.
func RunContenders(in io.Reader, out io.Writer) error {
	d := json.NewDecoder(in)
	var j contenderJob
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	stopped := make(chan struct{})
	go func() { // until the input ends
		defer close(stopped)
		_, _ = io.Copy(io.Discard, in)
	}()
	s, err := store.Drivers[j.Client](store.Config{Endpoints: j.Endpoints, Names: history.NewInterner()})
	if err != nil {
		return err
	}
	locks, err := store.OpenLocks(s, j.TTL)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	var contending sync.WaitGroup
	output := &contenderOutput{to: json.NewEncoder(out), process: j.Process}
	for i := range j.Contenders {
		contending.Go(j.contender(i, &lockClient{j.Client, locks}, output, stopped).run)
	}
	contending.Wait()
	closing, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(locks.Close(closing), s.Close())
}

// contender makes the contender of a number. It ends when stopped is closed.
func (j *contenderJob) contender(i int, client *lockClient, out *contenderOutput, stopped <-chan struct{}) *contender {
	return &contender{
		ctx: context.Background(), client: client, process: j.Process + i,
		load:   &locking{wants: j.Wants, long: j.Long},
		random: rand.New(rand.NewPCG(j.Seed, uint64(i))),
		now:    func() int64 { return time.Now().UnixNano() },
		sleep: func(d time.Duration) bool {
			select {
			case <-time.After(d):
				return true
			case <-stopped:
				return false
			}
		},
		value:  out.value,
		lock:   func(l history.Lock) { out.emit(contenderEvent{Lock: &l}) },
		fenced: func(f history.Fenced) { out.emit(contenderEvent{Fenced: &f}) },
	}
}

// contenderOutput is what the contenders of a process share.
type contenderOutput struct {
	process int

	mu     sync.Mutex // guards the fields below
	to     *json.Encoder
	values int
}

func (o *contenderOutput) emit(e contenderEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.to.Encode(e) // its reader has ended
}

// value is another one each time.
func (o *contenderOutput) value() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.values++
	return fmt.Sprintf("p%d-%d", o.process, o.values)
}

// contenderProcess starts a process of contenders; its history becomes part of the run's. The
// process ends with the loads.
func (w *world) contenderProcess(l *locking) (*os.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	j := contenderJob{
		Client: w.client, Endpoints: w.cluster.Endpoints(), TTL: l.ttl, Wants: l.wants,
		Contenders: lockContenders, Long: l.long, Process: int(w.process.Add(lockContenders)), Seed: w.random().Uint64(),
	}
	cmd := exec.Command(self, ContenderArg)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(in).Encode(j); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	w.loads.Go(func() {
		for w.sleep(50 * time.Millisecond) {
		}
		_ = in.Close() // this stops it
	})
	w.loads.Go(func() {
		w.contended(out)
		if err := cmd.Wait(); err != nil {
			w.failed("the process of contenders: %v", err)
		}
	})
	return cmd.Process, nil
}

// contended takes over what a process of contenders tells.
func (w *world) contended(out io.Reader) {
	for d := json.NewDecoder(bufio.NewReader(out)); ; {
		var e contenderEvent
		if err := d.Decode(&e); err != nil {
			return // it has ended
		}
		at := func(wall *int64) {
			if *wall != 0 {
				*wall = max(w.rec.At(time.Unix(0, *wall)), 1)
			}
		}
		w.rec.Change(func(r *history.Run) {
			if l := e.Lock; l != nil {
				for _, t := range []*int64{&l.Asked, &l.Deadline, &l.Granted, &l.Refused, &l.Gone, &l.Released, &l.Freed, &l.Until} {
					at(t)
				}
				r.Locks = append(r.Locks, *l)
			}
			if f := e.Fenced; f != nil {
				at(&f.Began)
				at(&f.Ended)
				r.Fenced = append(r.Fenced, *f)
			}
		})
	}
}

// paused suspends a process of contenders for longer than its leases live.
func paused(w *world) error {
	l := locking{ttl: lockTTL, wants: every, long: time.Second}
	if err := w.locks(l); err != nil {
		return err
	}
	p, err := w.contenderProcess(&l)
	if err != nil {
		return err
	}
	return w.cycles(cycle{
		name: "process suspended", overlaps: true, suspends: true, gap: 4 * time.Second, hold: lockTTL + 3*time.Second,
		inject: func(*world, int) (func() error, error) {
			return func() error { return p.Signal(goOn) }, p.Signal(suspend)
		},
	})
}
