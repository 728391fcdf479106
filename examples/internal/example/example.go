// Package example finds the etcd that an example uses, and nothing else: the client is
// made by the example.
package example

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Etcd is the etcd that an example uses.
type Etcd struct {
	// Endpoints are for etcd.Config.
	Endpoints []string
	// Prefix is what all keys of the example begin with: nothing on an etcd that was
	// started for the example, something unique on the user's.
	Prefix string
	// Own: the etcd was started only for the example.
	Own bool

	close func() error
}

// Start finds the etcd for an example: the user's at endpoints, which are separated by
// commas, or without endpoints one that runs inside this program until Close.
func Start(ctx context.Context, out io.Writer, endpoints string) (*Etcd, error) {
	if endpoints == "" {
		return embedded(out)
	}
	return users(ctx, out, endpoints)
}

// Close stops the etcd that Start has started. On the user's etcd it deletes the keys
// below Prefix, also when the example was interrupted.
func (e *Etcd) Close() error { return e.close() }

func embedded(out io.Writer) (*Etcd, error) {
	server, err := etcdtest.New(etcdtest.Config{})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "A real etcd %s runs inside this program, at %s.\n", server.Version(), server.Endpoints()[0])
	fmt.Fprint(out, "Set ETCD_ENDPOINTS=127.0.0.1:2379 to use yours.\n\n")
	return &Etcd{Endpoints: server.Endpoints(), Own: true, close: server.Close}, nil
}

func users(ctx context.Context, out io.Writer, endpoints string) (*Etcd, error) {
	servers := strings.Split(endpoints, ",")
	c, err := etcd.New(etcd.Config{Endpoints: servers})
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(waiting); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	prefix := "example-" + strings.ToLower(rand.Text()[:8]) + "/"
	fmt.Fprintf(out, "Using your etcd at %s. All keys are below %s\n\n", endpoints, prefix)
	return &Etcd{Endpoints: servers, Prefix: prefix, close: func() error { //nolint:contextcheck // it cleans up after the context has ended too
		return errors.Join(cleanUp(out, c, prefix), c.Close())
	}}, nil
}

// cleanUp deletes an example's keys.
func cleanUp(out io.Writer, c *etcd.Client, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	deleted, err := c.Delete(ctx, etcd.DeleteRequest{Key: prefix, Prefix: true})
	if err != nil {
		return fmt.Errorf("keys below %s are left over: %w", prefix, err)
	}
	fmt.Fprintf(out, "\nDeleted the %d keys that were left below %s\n", deleted.Deleted, prefix)
	return nil
}

// Run is what the main functions do, for tests: Start, run, Close.
func Run(ctx context.Context, out io.Writer, endpoints string, run func(context.Context, io.Writer, *Etcd) error) error {
	e, err := Start(ctx, out, endpoints)
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, out, e), e.Close())
}
