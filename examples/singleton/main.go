// Singleton runs a job on exactly one of all instances of this program. Start it twice, and
// kill the one that works: the other takes over within five seconds. After Ctrl-C it takes
// over at once.
//
//	ETCD_ENDPOINTS=127.0.0.1:2379 go run ./examples/singleton
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/examples/internal/example"
)

// All instances use this name, so it is not below example.Etcd.Prefix.
const job = "example-singleton/job"

const (
	// ttl is how long after a crash another instance takes over.
	ttl = 5 * time.Second
	// every is how often the job does something.
	every = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Your etcd where ETCD_ENDPOINTS names one, else one inside this program.
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Start another one:  ETCD_ENDPOINTS=%s go run ./examples/singleton\nEnd this one with Ctrl-C.\n\n", e.Endpoints[0])
	if err := errors.Join(run(ctx, os.Stdout, e), e.Close()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	return instance(ctx, out, e, strconv.Itoa(os.Getpid()))
}

// instance runs the job whenever the instance of this name leads, until ctx ends.
func instance(ctx context.Context, out io.Writer, e *example.Etcd, name string) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	co, err := concurrency.New(c, concurrency.Config{TTL: ttl})
	if err != nil {
		return err
	}
	defer closeNow(co) //nolint:contextcheck // it runs after Ctrl-C too
	election := co.Election(job, concurrency.ElectionConfig{Value: []byte(name)})

	var observing sync.WaitGroup
	defer observing.Wait()
	observing.Go(func() { observe(ctx, out, election, name) })

	// Run campaigns again after each loss. It waits for work to return before it hands
	// over the leadership, so work must respect its context.
	err = election.Run(ctx, func(ctx context.Context, ld *concurrency.Leadership) error {
		return work(ctx, out, ld, name)
	})
	if ctx.Err() != nil {
		return nil // Ctrl-C
	}
	return err
}

// observe prints the working instance, until ctx ends.
func observe(ctx context.Context, out io.Writer, election *concurrency.Election, name string) {
	for st, err := range election.Observe(ctx) {
		switch {
		case err != nil:
			if ctx.Err() == nil {
				fmt.Fprintln(out, err)
			}
		case !st.Present:
			fmt.Fprintf(out, "%s: nobody works\n", name)
		case string(st.Value) != name:
			fmt.Fprintf(out, "%s: waits, %s works\n", name, st.Value)
		}
	}
}

// work is the job. ctx ends when the leadership is lost.
func work(ctx context.Context, out io.Writer, ld *concurrency.Leadership, name string) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		fmt.Fprintf(out, "%s: works, term %d, step %d\n", name, ld.Term(), n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			fmt.Fprintf(out, "%s: stops\n", name)
			return nil
		}
	}
}

// closeNow lets another instance take over at once, also after Ctrl-C.
func closeNow(co *concurrency.Coordinator) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := co.Close(ctx); err != nil {
		log.Println(err, "- another instance takes over when the lease has expired")
	}
}
