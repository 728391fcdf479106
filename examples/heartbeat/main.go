// Heartbeat monitors a service whose key lives as long as the service.
//
//	go run ./examples/heartbeat
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

func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()

	// The monitor misses no heartbeat: Watch returns once the server has
	// confirmed it.
	key := e.Prefix + "health/service-1"
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: key})
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Fprintln(out, "Monitoring heartbeat...")
	monitored := make(chan error, 1)
	go func() { monitored <- monitor(ctx, out, w) }()

	if err := serve(ctx, c, key); err != nil {
		w.Close() // ends the monitor too
		<-monitored
		return err
	}
	return <-monitored
}

// monitor reports the service's heartbeats until the service is gone.
func monitor(ctx context.Context, out io.Writer, w *etcd.Watcher) error {
	began := time.Now()
	for resp, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		for _, ev := range resp.Events {
			at := time.Since(began).Round(100 * time.Millisecond)
			if ev.Type == etcd.EventDelete {
				fmt.Fprintf(out, "  after %v: WARNING: service heartbeat lost!\n", at)
				return nil
			}
			fmt.Fprintf(out, "  after %v: heartbeat %s\n", at, ev.KV.Value)
		}
	}
	return nil
}

// serve is the service. It runs for 2.5 seconds, longer than its lease lives
// without renewal, and stops.
func serve(ctx context.Context, c *etcd.Client, key string) error {
	// etcd may grant a longer TTL: its minimum depends on the election timeout, usually 2 s.
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Second})
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte("started"), Lease: lease.ID}); err != nil {
		return err
	}

	// The client renews the lease by itself. The put updates the service's
	// status; IgnoreLease leaves the key on its lease.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stop := time.After(2500 * time.Millisecond)
	for running := true; running; {
		select {
		case <-tick.C:
			if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte("well"), IgnoreLease: true}); err != nil {
				return err
			}
		case <-stop:
			running = false
		case <-lease.Done():
			return lease.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return lease.Revoke(ctx)
}
