// Registration registers an instance of a service under a lease, finds it, and
// removes it again. If the program is killed, the lease expires and the instance
// disappears within 10 seconds.
//
//	go run ./examples/registration
package main

import (
	"context"
	"encoding/json"
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

// instance describes one instance of a service.
type instance struct {
	Name    string `json:"name"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Version string `json:"version"`
}

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

	// The client renews the lease until it is revoked or the client is closed.
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	me := instance{Name: "api-server", Host: "192.168.1.100", Port: 8080, Version: "1.0.0"}
	value, err := json.Marshal(me)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%sservices/%s/%s:%d", e.Prefix, me.Name, me.Host, me.Port)
	if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: value, Lease: lease.ID}); err != nil {
		return err
	}
	fmt.Fprintln(out, "Service registered:", key)

	if err := discover(ctx, out, c, e.Prefix+"services/api-server/"); err != nil {
		return err
	}

	// Serve for a second. A real service ends on an interrupt; and if the lease
	// is lost, nobody finds it any longer and it should register again.
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	case <-lease.Done():
		return lease.Err()
	}

	// The cleanup must run even if ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := lease.Revoke(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "Service unregistered")
	return discover(ctx, out, c, e.Prefix+"services/api-server/")
}

// discover prints the instances of a service.
func discover(ctx context.Context, out io.Writer, c *etcd.Client, service string) error {
	got, err := c.Get(ctx, etcd.GetRequest{Key: service, Prefix: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Service instances found: %d\n", got.Count)
	for _, kv := range got.KVs {
		var i instance
		if err := json.Unmarshal(kv.Value, &i); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		fmt.Fprintf(out, "  - %s:%d (version %s)\n", i.Host, i.Port, i.Version)
	}
	return nil
}
