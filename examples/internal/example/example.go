// Package example chooses the etcd that the examples use.
package example

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Etcd is the etcd that an example uses.
type Etcd struct {
	// Endpoints are for etcd.Config.
	Endpoints []string
	// Prefix is what all keys of the example begin with: nothing on an etcd of
	// its own, something unique on the user's.
	Prefix string
	// Own says that the etcd was started for the example alone.
	Own bool
}

// Main is the whole main function of an example: it runs until run returns or
// is interrupted. The etcd is that of the environment variable ETCD_ENDPOINTS,
// see Run.
func Main(run func(context.Context, io.Writer, Etcd) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := Run(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"), run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// Run runs an example on the etcd at endpoints, which are separated by commas,
// and deletes the example's keys afterwards. Without endpoints an etcd runs
// inside this program, as long as the example does.
func Run(ctx context.Context, out io.Writer, endpoints string, run func(context.Context, io.Writer, Etcd) error) (err error) {
	if endpoints == "" {
		server, err := etcdtest.New(etcdtest.Config{})
		if err != nil {
			return err
		}
		defer server.Close()
		fmt.Fprintf(out, "A real etcd %s runs inside this program, at %s.\n", server.Version(), server.Endpoints()[0])
		fmt.Fprint(out, "Set ETCD_ENDPOINTS=127.0.0.1:2379 to use yours.\n\n")
		return run(ctx, out, Etcd{Endpoints: server.Endpoints(), Own: true})
	}

	servers := strings.Split(endpoints, ",")
	c, err := etcd.New(etcd.Config{Endpoints: servers})
	if err != nil {
		return err
	}
	defer c.Close()
	waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(waiting); err != nil {
		return err
	}
	prefix := "example-" + strings.ToLower(rand.Text()[:8]) + "/"
	fmt.Fprintf(out, "Using your etcd at %s. All keys are below %s\n\n", endpoints, prefix)
	defer func() { err = errors.Join(err, cleanUp(ctx, out, c, prefix)) }()
	return run(ctx, out, Etcd{Endpoints: servers, Prefix: prefix})
}

// cleanUp deletes an example's keys, also when ctx has ended.
func cleanUp(ctx context.Context, out io.Writer, c *etcd.Client, prefix string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	deleted, err := c.Delete(ctx, etcd.DeleteRequest{Key: prefix, Prefix: true})
	if err != nil {
		return fmt.Errorf("keys below %s are left over: %w", prefix, err)
	}
	fmt.Fprintf(out, "\nDeleted the %d keys that were left below %s\n", deleted.Deleted, prefix)
	return nil
}
