// Fencedlock counts under a lock that all instances of this program share. Start it twice,
// and kill one, or suspend it with Ctrl-Z for longer than its lease lives and let it go on
// with fg: the other one goes on counting, and no count is lost.
//
//	ETCD_ENDPOINTS=127.0.0.1:2379 go run ./examples/fencedlock
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
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/examples/internal/example"
)

// All instances use these keys, so they are not below example.Etcd.Prefix.
const (
	lockName = "example-fencedlock/lock"
	counter  = "example-fencedlock/counter"
)

// ttl is how long after a crash the others wait.
const ttl = 5 * time.Second

// work is how long an instance works with the counter before it writes the next one.
const work = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Your etcd where ETCD_ENDPOINTS names one, else one inside this program.
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Start another one:  ETCD_ENDPOINTS=%s go run ./examples/fencedlock\nEnd this one with Ctrl-C.\n\n", e.Endpoints[0])
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
	co, err := concurrency.New(c, concurrency.Config{TTL: ttl})
	if err != nil {
		return err
	}
	defer closeNow(co) //nolint:contextcheck // it runs after Ctrl-C too

	me := strconv.Itoa(os.Getpid())
	m := co.Mutex(lockName, concurrency.MutexConfig{Value: []byte(me)})
	for {
		if h, held, err := m.Holder(ctx); err == nil && held {
			fmt.Fprintf(out, "waiting for process %s\n", h.Value)
		}
		err := m.Do(ctx, func(ctx context.Context, l *concurrency.Lock) error { return count(ctx, out, c, l) })
		switch {
		case errors.Is(err, concurrency.ErrLockLost):
			fmt.Fprintln(out, "  the lock was lost, and nothing was written:", err)
		case ctx.Err() != nil:
			return nil // Ctrl-C
		case err != nil:
			return err
		}
	}
}

// count adds one to the counter. ctx ends when the lock is lost.
func count(ctx context.Context, out io.Writer, c *etcd.Client, l *concurrency.Lock) error {
	got, err := c.Get(ctx, etcd.GetRequest{Key: counter})
	if err != nil {
		return err
	}
	n := 0
	if kv, ok := got.First(); ok {
		if n, err = strconv.Atoi(string(kv.Value)); err != nil {
			return fmt.Errorf("%s: %w", counter, err)
		}
	}
	select {
	case <-time.After(work):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// A process that was suspended does not know yet that its lock is gone, and its
	// context may not have ended yet either. Then etcd refuses this write.
	_, err = l.Txn(ctx, etcd.TxnRequest{
		Then: []etcd.Op{etcd.PutRequest{Key: counter, Value: []byte(strconv.Itoa(n + 1))}},
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  token %d: counted to %d\n", l.Token(), n+1)
	return nil
}

// closeNow gives the lock to the next one at once, also after Ctrl-C.
func closeNow(co *concurrency.Coordinator) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := co.Close(ctx); err != nil {
		log.Println(err, "- the others wait until the lease expires")
	}
}
