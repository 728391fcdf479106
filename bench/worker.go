package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"
)

// workerArg is the hidden subcommand that runs this program as one client's process
// for one line of the report. It reads JSON lines, first a job, then one order per
// round, and answers each with a reply. It exits when its standard input ends.
const workerArg = "bench-worker"

type job struct {
	Client    string
	Row       string
	Callers   int
	Target    target
	ServerPID []int
	Scale     scale
	Profile   string // path without its ending; "" for none
}

type order struct {
	Length time.Duration

	// Of failover rows: the member that the fault will hit, or when it hits. Of the herd
	// row: a member that was restarted, when that began, and when it was back.
	Victim string
	Began  time.Time
	Fault  time.Time
}

type reply struct {
	Figures figures `json:",omitempty"`
	Error   string  `json:",omitempty"`
}

// runWorker is the worker's main.
func runWorker(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	var j job
	if err := dec.Decode(&j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	r, run, err := j.begin()
	if err != nil {
		return enc.Encode(reply{Error: err.Error()})
	}
	stopProfile, err := startProfile(j.Profile)
	if err != nil {
		return enc.Encode(reply{Error: err.Error()})
	}
	if err := enc.Encode(reply{}); err != nil {
		return err
	}
	for {
		var o order
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading an order: %w", err)
		}
		r.length, r.victim, r.began, r.fault = o.Length, o.Victim, o.Began, o.Fault
		var answer reply
		answer.Figures, err = run(context.Background(), r)
		if err != nil {
			answer = reply{Error: err.Error()}
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
	}
	return errors.Join(stopProfile(), r.load.close())
}

// begin opens the client that the job names.
func (j *job) begin() (*round, func(context.Context, *round) (figures, error), error) {
	rows := slices.Concat(registry(), curveRows())
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == j.Row })
	if i < 0 {
		return nil, nil, fmt.Errorf("no row %q", j.Row)
	}
	l, err := newLoad(j.Client, rows[i].coalesce)
	if err != nil {
		return nil, nil, err
	}
	if err := l.open(j.Target); err != nil {
		return nil, nil, err
	}
	return &round{
		load: l, client: j.Client, coalesce: rows[i].coalesce,
		target: j.Target, callers: j.Callers,
		scale: j.Scale, serverPID: j.ServerPID,
	}, rows[i].run, nil
}

// startProfile writes path.cpu from now until stop is called; stop also writes
// path.allocs.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(path + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(path + ".allocs")
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		runtime.GC()
		return errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close(), cpu.Close())
	}, nil
}

// worker is the parent's end. Not safe for concurrent use.
type worker struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	enc     *json.Encoder
	replies chan reply
	patient time.Duration // how long to wait for a reply beyond the round
}

// startWorker starts a process for the job and returns once its client is open.
func startWorker(j job) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, workerArg)
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
	w := &worker{cmd: cmd, in: in, enc: json.NewEncoder(in), replies: make(chan reply), patient: time.Minute}
	go func() {
		defer close(w.replies)
		dec := json.NewDecoder(bufio.NewReader(out))
		for {
			var r reply
			if dec.Decode(&r) != nil {
				return
			}
			w.replies <- r
		}
	}()
	if _, err := w.ask(context.Background(), j, 0); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

// round makes the worker measure for the given time.
func (w *worker) round(ctx context.Context, length time.Duration) (figures, error) {
	return w.ask(ctx, order{Length: length}, length)
}

func (w *worker) ask(ctx context.Context, message any, length time.Duration) (figures, error) {
	if err := w.enc.Encode(message); err != nil {
		return nil, fmt.Errorf("the client's process: %w", err)
	}
	late := time.NewTimer(length + w.patient)
	defer late.Stop()
	select {
	case r, ok := <-w.replies:
		switch {
		case !ok:
			return nil, errors.New("the client's process ended")
		case r.Error != "":
			return nil, errors.New(r.Error)
		}
		return r.Figures, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		// The signal makes it print its goroutines, which shows where the client hangs.
		err := w.cmd.Process.Signal(syscall.SIGQUIT)
		return nil, errors.Join(fmt.Errorf("the client's process hangs: no answer after %v", length+w.patient), err)
	}
}

// stop ends the process: an idle one exits by itself, any other is killed after a
// while.
func (w *worker) stop() error {
	err := w.in.Close()
	force := time.AfterFunc(5*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer force.Stop()
	for range w.replies { // the reader must finish before Wait
	}
	if waitErr := w.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("the client's process: %w", waitErr))
	}
	return err
}
