// Quickstart is a tour of etcd: put and get, prefixes, transactions, history,
// leases, watches, services that come and go, compaction. This file begins the
// tour; each of the others has a few stops.
//
//	go run ./examples/quickstart
//
// It runs an etcd inside this program. Set ETCD_ENDPOINTS, a list
// separated by commas, to use yours instead: everything then happens below one
// prefix, which is deleted at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/examples/internal/example"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Your etcd where ETCD_ENDPOINTS names one, else one inside this program.
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, os.Stdout, e), e.Close()); err != nil {
		log.Fatal(err)
	}
}

// run connects and takes the tour.
func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	// New checks its configuration and makes no connection yet; Ready waits for a
	// server that answers, or says what is wrong with each.
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(waiting); err != nil {
		return err
	}

	t := &tour{c: c, out: out, prefix: e.Prefix, endpoints: e.Endpoints}
	for _, stop := range []func(context.Context) error{
		t.putAndGet,
		t.readPrefix, t.transact, t.lookBack, // keys.go
		t.outliveTTL,        // lease.go
		t.watchThroughCut,   // watch.go
		t.discoverInstances, // service.go
	} {
		if err := stop(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	if e.Own {
		return t.compact(ctx)
	}
	t.heading("Compaction")
	fmt.Fprintln(out, "  left out: it would forget the history of all keys of your etcd")
	return nil
}

// tour holds the state shared by all stops of the tour.
type tour struct {
	c         *etcd.Client
	out       io.Writer
	prefix    string // of all keys; empty on our own etcd
	endpoints []string

	colors []int64 // the revisions at which color was put
}

// putAndGet stores a value and reads it back.
func (t *tour) putAndGet(ctx context.Context) error {
	t.heading("Put and get")

	put, err := t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("red")})
	if err != nil {
		return err
	}
	t.show("put color = red", "at revision %d of the store", put.Header.Revision)
	t.colors = append(t.colors, put.Header.Revision)

	got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color"})
	if err != nil {
		return err
	}
	for _, kv := range got.KVs {
		t.show("get color", "%s, version %d", kv.Value, kv.Version)
	}

	put, err = t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("green"), PrevKV: true})
	if err != nil {
		return err
	}
	t.show("put color = green", "at revision %d, was %s", put.Header.Revision, put.PrevKV.Value)
	t.colors = append(t.colors, put.Header.Revision)

	// A missing key is not an error: the answer just has no pairs.
	got, err = t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "colour"})
	if err != nil {
		return err
	}
	t.show("get colour", "%d keys", got.Count)
	return nil
}

// heading begins a stop.
func (t *tour) heading(name string) { fmt.Fprintln(t.out, name) }

// show prints a step and its result.
func (t *tour) show(what, format string, args ...any) {
	fmt.Fprintf(t.out, "  %-28s  %s\n", what, fmt.Sprintf(format, args...))
}
