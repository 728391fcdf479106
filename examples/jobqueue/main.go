// Jobqueue is a small job queue with two workers, each a separate process. One of them is
// killed in the middle of a job. The other one takes that job when the lease of the dead
// worker has expired, and at the end every job is counted once.
//
//	go run ./examples/jobqueue
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/examples/internal/example"
	"silly.store/etcd/queue"
)

const (
	jobs = 12
	// ttl is how long after a crash the job of a worker is free.
	ttl = 3 * time.Second
	// work is how long a job takes.
	work = 150 * time.Millisecond
)

// The environment of a worker: its name, the etcd, and the prefix of the keys.
const (
	workerEnv    = "JOBQUEUE_WORKER"
	endpointsEnv = "JOBQUEUE_ENDPOINTS"
	prefixEnv    = "JOBQUEUE_PREFIX"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	if name := os.Getenv(workerEnv); name != "" {
		if err := worker(ctx, os.Stdout, name); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := example.Run(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"), run); err != nil {
		log.Fatal(err)
	}
}

// run adds the jobs, starts the workers, kills one, and waits until everything is done.
func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := addJobs(ctx, c, e.Prefix+"jobs"); err != nil {
		return err
	}
	fmt.Fprintf(out, "added %d jobs\n", jobs)

	done, err := c.Watch(ctx, etcd.WatchRequest{Key: e.Prefix + "done/", Prefix: true, Revision: 1})
	if err != nil {
		return err
	}
	defer done.Close()

	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel() // which kills the workers
	var kill sync.Once
	for _, name := range []string{"ann", "bob"} {
		p, err := start(ctx, &workers, name, e)
		if err != nil {
			return err
		}
		workers.Go(func() { p.follow(out, &kill) })
	}
	return count(ctx, out, done)
}

// addJobs adds the jobs. If the program is restarted in between, none is added twice.
func addJobs(ctx context.Context, c *etcd.Client, name string) error {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		return err
	}
	q, err := queue.New(co, queue.Config{Name: name})
	if err != nil {
		return err
	}
	for i := range jobs {
		if err = q.Add(ctx, queue.Item{ID: fmt.Sprintf("job-%02d", i), Value: []byte("some work")}); err != nil {
			break
		}
	}
	return errors.Join(err, q.Close(ctx), co.Close(ctx))
}

// count waits until all jobs are done, and finds out whether one was done twice.
func count(ctx context.Context, out io.Writer, done *etcd.Watcher) error {
	times := make(map[string]int)
	for len(times) < jobs {
		resp, err := done.Read(ctx)
		if err != nil {
			return err
		}
		for _, ev := range resp.Events {
			times[ev.KV.Key]++
			if times[ev.KV.Key] > 1 {
				return fmt.Errorf("%s was counted twice", ev.KV.Key)
			}
		}
	}
	fmt.Fprintf(out, "all %d jobs are done, each counted once\n", jobs)
	return nil
}

// process is a worker that has been started.
type process struct {
	name string
	cmd  *exec.Cmd
	out  io.Reader
}

// start starts this program once more, as a worker.
func start(ctx context.Context, workers *sync.WaitGroup, name string, e *example.Etcd) (*process, error) {
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:G204,G702 // it starts itself
	cmd.Env = append(os.Environ(), workerEnv+"="+name, endpointsEnv+"="+strings.Join(e.Endpoints, ","), prefixEnv+"="+e.Prefix)
	cmd.Stderr = os.Stderr
	r, w := io.Pipe()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	workers.Go(func() {
		_ = cmd.Wait() // it was killed
		_ = w.Close()
	})
	return &process{name, cmd, r}, nil
}

// follow shows what the worker says. The first worker that begins a second job is killed.
func (p *process) follow(out io.Writer, kill *sync.Once) {
	lines := bufio.NewScanner(p.out)
	for n := 1; lines.Scan(); n++ {
		fmt.Fprintln(out, lines.Text())
		if n < 2 {
			continue
		}
		kill.Do(func() {
			_ = p.cmd.Process.Kill() // it may have ended
			fmt.Fprintf(out, "%s is killed in the middle of that\n", p.name)
		})
	}
}

// worker takes one job after the other.
func worker(ctx context.Context, out io.Writer, name string) error {
	c, err := etcd.New(etcd.Config{Endpoints: strings.Split(os.Getenv(endpointsEnv), ",")})
	if err != nil {
		return err
	}
	defer c.Close()
	co, err := concurrency.New(c, concurrency.Config{TTL: ttl})
	if err != nil {
		return err
	}
	prefix := os.Getenv(prefixEnv)
	q, err := queue.New(co, queue.Config{Name: prefix + "jobs"})
	if err != nil {
		return err
	}
	for cl, err := range q.All(ctx) {
		if err != nil {
			return errors.Join(q.Close(context.WithoutCancel(ctx)), co.Close(context.WithoutCancel(ctx)))
		}
		if err := do(cl, out, name, prefix); err != nil { //nolint:contextcheck // a job that has begun is finished
			fmt.Fprintln(out, name, "gives up a job:", err)
		}
	}
	return nil
}

// do does a job. The result is written together with the item's removal, or not at all.
func do(cl *queue.Claim, out io.Writer, name, prefix string) error {
	fmt.Fprintf(out, "%s begins %s, attempt %d\n", name, cl.Item.ID, cl.Attempt)
	select {
	case <-time.After(work):
	case <-cl.Context().Done():
		return context.Cause(cl.Context())
	}
	return cl.Ack(cl.Context(), etcd.PutRequest{Key: prefix + "done/" + cl.Item.ID, Value: []byte(name)})
}
