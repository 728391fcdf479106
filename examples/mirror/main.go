// Mirror copies keys into another cluster, and prints how far it is behind. Here both sides
// are prefixes of one cluster, since an example should run without two.
//
//	go run ./examples/mirror
//	go run ./examples/mirror -to 10.0.0.2:2379 -prefix app/     # from ETCD_ENDPOINTS, until Ctrl-C
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/examples/internal/example"
	"silly.store/etcd/mirror"
)

var (
	to     = flag.String("to", "", "endpoints of another cluster, separated by commas; empty: a demonstration")
	prefix = flag.String("prefix", "", "of the keys that are copied with -to; empty: all keys")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	var err error
	if *to != "" {
		err = copyTo(ctx, os.Stdout, strings.Split(os.Getenv("ETCD_ENDPOINTS"), ","), strings.Split(*to, ","), *prefix)
	} else {
		err = demonstrate(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// copyTo mirrors one cluster into another one until ctx ends.
func copyTo(ctx context.Context, out io.Writer, from, to []string, prefix string) error {
	source, err := etcd.New(etcd.Config{Endpoints: from})
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := etcd.New(etcd.Config{Endpoints: to})
	if err != nil {
		return err
	}
	defer target.Close()
	m, err := mirror.New(source, target, mirror.Config{Name: "example", Prefix: prefix, Verify: time.Hour})
	if err != nil {
		return err
	}
	ended := begin(ctx, m)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			say(out, m.Status())
		case err := <-ended:
			return unlessCanceled(ctx, err)
		}
	}
}

// begin runs the mirror until ctx ends.
func begin(ctx context.Context, m *mirror.Mirror) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return ended
}

func unlessCanceled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // Ctrl-C
	}
	return err
}

func say(out io.Writer, st mirror.Status) {
	fmt.Fprintf(out, "%s: %d changes applied, lag %v\n", st.Phase, st.Changes, st.Lag().Round(time.Millisecond))
	if st.Err != nil {
		fmt.Fprintln(out, st.Err)
	}
}

func demonstrate(ctx context.Context) error {
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, os.Stdout, e), e.Close())
}

// run mirrors a prefix while it changes, and compares both sides.
func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	from, to := e.Prefix+"from/", e.Prefix+"to/"
	m, err := mirror.New(c, c, mirror.Config{Name: "example", Prefix: from, DestPrefix: to, Checkpoint: e.Prefix + "mirror"})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := begin(running, m)
	var last int64
	for i := range 1000 {
		put, err := c.Put(ctx, etcd.PutRequest{Key: fmt.Sprint(from, i%100), Value: fmt.Append(nil, i)})
		if err != nil {
			return err
		}
		last = put.Header.Revision
		if i%250 == 0 {
			say(out, m.Status())
		}
	}
	// A program that must know that a change has arrived waits for its revision.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for m.Status().Revision < last {
		select {
		case <-tick.C:
		case err := <-ended:
			return err
		}
	}
	say(out, m.Status())
	report, err := m.Verify(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d keys, equal: %v\n", report.Keys, report.Equal())
	stop()
	return unlessCanceled(running, <-ended)
}
