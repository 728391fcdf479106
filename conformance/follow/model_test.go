package follow

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/follow"
)

var seed = flag.Uint64("seed", 0, "of the random histories; 0: another one each time")

// draw makes the random numbers of a test, which reports the seed when it fails.
func draw(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("run it again with -seed %d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 0))
}

// steps reads a follower to the end of a test by calls that are given up again and again,
// and judges what comes.
func (j *judge) steps(t testing.TB, f *follow.Follower, r *rand.Rand, stop <-chan struct{}) error {
	t.Helper()
	defer j.end()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(40))*time.Millisecond)
		step, err := f.Next(ctx)
		cancel()
		switch {
		case err == nil:
			err = j.take(step)
		case errors.Is(err, context.DeadlineExceeded):
			continue
		}
		if err != nil {
			return err
		}
	}
}

// Whatever happens, the state is the store's at each step, and no revision is left out
// while there is history: random writes under cuts, compactions and calls given up.
func TestModelUnderCutsAndCompactions(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	r := draw(t)
	o := newOracle(testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}))
	write := func(n int) {
		for range n {
			if err := o.step(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true, Progress: true})
	j := newJudge(o)
	stop, ended := make(chan struct{}), make(chan error, 1)
	reader := rand.New(rand.NewPCG(r.Uint64(), 0))
	go func() { ended <- j.steps(t, f, reader, stop) }()

	for round := range 40 {
		write(r.IntN(20))
		fault := r.IntN(8)
		if round == 0 {
			j.wait()
			fault = 1
		}
		switch fault {
		case 0:
			proxy.Reset()
		case 1:
			cutOff(proxy)
			write(1 + r.IntN(10))
			if round == 0 || r.IntN(2) == 0 {
				compact(t, o.c, o.revision-r.Int64N(3))
			}
			rejoin(proxy)
		case 2:
			j.wait()
			f.RequestProgress()
		case 3:
			j.wait()
		}
		if len(ended) > 0 {
			break
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	j.until(t, f)
	if j.kinds[follow.Changed] == 0 || j.kinds[follow.Resynced] == 0 {
		t.Errorf("steps %v: none that is a change, or none after a loss of history", j.kinds)
	}
}

// The same on a server that is restarted, and set back to a backup.
func TestModelUnderResets(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	r := draw(t)
	o := newOracle(testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}))
	write := func(n int) {
		for range n {
			if err := o.step(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(20)
	b := testbed.TakeBackup(t, s)
	testbed.NewHistory(t, o.c)
	kept := o.revision
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	j := newJudge(o)
	setBack := func() {
		b.Restore(t)
		testbed.NewHistory(t, o.c)
		o.setBack(kept)
	}
	// What it has seen is lost.
	write(20)
	j.until(t, f)
	setBack()
	write(1)
	j.until(t, f)
	if j.last.Epoch != 2 || j.kinds[follow.Resynced] != 1 {
		t.Errorf("epoch %d after a reset; steps %v", j.last.Epoch, j.kinds)
	}

	stop, ended := make(chan struct{}), make(chan error, 1)
	reader := rand.New(rand.NewPCG(r.Uint64(), 0))
	go func() { ended <- j.steps(t, f, reader, stop) }()
	for range 4 {
		write(1 + r.IntN(30))
		switch r.IntN(3) {
		case 0:
			restart(t, s) // the term rises, and falls with the next reset
			testbed.NewHistory(t, o.c)
		case 1:
			cutOff(proxy)
			write(5)
		}
		setBack()
		rejoin(proxy)
		j.wait() // or the new history could overtake the follower unseen, as the package's documentation says
		write(r.IntN(10))
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	write(60) // the new history overtakes the old one
	j.until(t, f)
}
