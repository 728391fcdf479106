// Registryview follows the instances of services, which register themselves with leases, and
// prints which instances come and go.
//
//	go run ./examples/registryview
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
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
	services := e.Prefix + "view/"
	registry, err := cache.New(c, cache.Config{Key: services, Prefix: true})
	if err != nil {
		return err
	}
	defer registry.Close()

	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	register := func(name, address string, lease etcd.LeaseID) error {
		_, err := c.Put(ctx, etcd.PutRequest{Key: services + name, Value: []byte(address), Lease: lease})
		return err
	}
	if err := errors.Join(register("search/1", "10.0.0.1:80", lease.ID), register("search/2", "10.0.0.2:80", 0)); err != nil {
		return err
	}

	// The first update has all instances. A slow reader misses moves in between, but no
	// instance that has come or gone.
	view := registry.Subscribe(services + "search/")
	for u, err := range view.All(ctx) {
		if err != nil {
			return err
		}
		gone := false
		for ch := range u.Changes() {
			name := strings.TrimPrefix(ch.Key(), services)
			if gone = ch.New == nil; gone {
				fmt.Fprintf(out, "%s at %s has gone\n", name, ch.Old.Value)
			} else {
				fmt.Fprintf(out, "%s is at %s\n", name, ch.New.Value)
			}
		}
		all := u.Snapshot.Len()
		if gone {
			fmt.Fprintln(out, "instances left:", all)
			return nil
		}
		if all < 2 {
			continue
		}
		// The first instance ends: its lease, and so its key.
		if err := lease.Revoke(ctx); err != nil {
			return err
		}
	}
	return nil
}
