// Shutdown works until it is done or interrupted, and leaves nothing behind: all its
// keys are on one lease.
//
//	go run ./examples/shutdown
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

func run(ctx context.Context, out io.Writer, e *example.Etcd) (err error) {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	// Close comes last: it ends every call, watch and keep-alive of the
	// client. Leases that are not revoked live until their TTL runs out.
	defer c.Close()

	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shutDown(ctx, out, c, lease, e.Prefix+"temp/")) }()

	for _, name := range []string{"resource1", "resource2", "resource3"} {
		key := e.Prefix + "temp/" + name
		if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte("active"), Lease: lease.ID}); err != nil {
			return err
		}
		fmt.Fprintln(out, "Registered:", key)
	}

	fmt.Fprintln(out, "Working for 2 seconds, Ctrl-C to end it...")
	select {
	case <-time.After(2 * time.Second):
		fmt.Fprintln(out, "Done.")
	case <-ctx.Done():
		fmt.Fprintln(out, "Interrupted.")
	case <-lease.Done():
		return lease.Err()
	}
	return nil
}

// shutDown revokes the lease, which deletes the keys on it.
func shutDown(ctx context.Context, out io.Writer, c *etcd.Client, lease *etcd.Lease, temp string) error {
	fmt.Fprintln(out, "Shutting down...")
	// After an interrupt ctx has ended, but the cleanup must still run.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := lease.Revoke(ctx); err != nil {
		return err
	}
	left, err := c.Get(ctx, etcd.GetRequest{Key: temp, Prefix: true, CountOnly: true})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Lease revoked, remaining resources:", left.Count)
	return nil
}
