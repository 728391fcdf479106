// Transactions increments two counters: first with plain reads and writes, which
// only works as long as nobody else does so too, then with transactions, from
// many goroutines at once. Then it counts over connections that break while answers
// are due, and the total is exact (counter.go).
//
//	go run ./examples/transactions
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

	counters := &pair{c: c, a: e.Prefix + "counter/a", b: e.Prefix + "counter/b"}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: counters.a, Value: []byte("10")}); err != nil {
		return err
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: counters.b, Value: []byte("20")}); err != nil {
		return err
	}
	if err := counters.print(ctx, out, "Initial values"); err != nil {
		return err
	}

	if err := counters.incrementPlainly(ctx); err != nil {
		return err
	}
	if err := counters.print(ctx, out, "Incremented by plain puts"); err != nil {
		return err
	}

	const goroutines, times = 4, 5
	results := make(chan error, goroutines)
	for range goroutines {
		go func() {
			var err error
			for i := 0; i < times && err == nil; i++ {
				err = counters.increment(ctx)
			}
			results <- err
		}()
	}
	for range goroutines {
		err = errors.Join(err, <-results)
	}
	if err != nil {
		return err
	}
	if err := counters.print(ctx, out, fmt.Sprintf("Incremented by %d goroutines, %d times each", goroutines, times)); err != nil {
		return err
	}
	return countOverCuts(ctx, out, e)
}

// pair is a pair of counters that are incremented together.
type pair struct {
	c    *etcd.Client
	a, b string
}

// incrementPlainly may overwrite another writer's increment, and the second put may
// fail after the first succeeded.
func (p *pair) incrementPlainly(ctx context.Context) error {
	for _, key := range []string{p.a, p.b} {
		got, err := p.c.Get(ctx, etcd.GetRequest{Key: key})
		if err != nil {
			return err
		}
		counter, ok := got.First()
		if !ok {
			return fmt.Errorf("there is no counter %s", key)
		}
		n, err := strconv.Atoi(string(counter.Value))
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if _, err := p.c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte(strconv.Itoa(n + 1))}); err != nil {
			return err
		}
	}
	return nil
}

// increment increments both counters or neither, and only from the values it has read.
func (p *pair) increment(ctx context.Context) error {
	for {
		a, b, err := p.read(ctx)
		if err != nil {
			return err
		}
		txn, err := p.c.Txn(ctx, etcd.TxnRequest{
			If: []etcd.Compare{
				etcd.Unchanged(a.kv),
				etcd.Unchanged(b.kv),
			},
			Then: []etcd.Op{
				etcd.PutRequest{Key: p.a, Value: []byte(strconv.Itoa(a.value + 1))},
				etcd.PutRequest{Key: p.b, Value: []byte(strconv.Itoa(b.value + 1))},
			},
		})
		if err != nil {
			return err
		}
		if txn.Succeeded {
			return nil
		}
		// Another writer was faster: read again.
	}
}

// reading is a counter as it was read.
type reading struct {
	value int
	kv    etcd.KeyValue
}

// read reads both counters at one moment: a transaction can be reads alone.
func (p *pair) read(ctx context.Context) (a, b reading, err error) {
	txn, err := p.c.Txn(ctx, etcd.TxnRequest{
		Then: []etcd.Op{etcd.GetRequest{Key: p.a}, etcd.GetRequest{Key: p.b}},
	})
	if err != nil {
		return a, b, err
	}
	for i, n := range []*reading{&a, &b} {
		var ok bool
		if n.kv, ok = txn.Responses[i].Get.First(); !ok {
			return a, b, errors.New("a counter does not exist")
		}
		if n.value, err = strconv.Atoi(string(n.kv.Value)); err != nil {
			return a, b, fmt.Errorf("%s: %w", n.kv.Key, err)
		}
	}
	return a, b, nil
}

func (p *pair) print(ctx context.Context, out io.Writer, title string) error {
	a, b, err := p.read(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s:\n  A %d, B %d, sum %d\n", title, a.value, b.value, a.value+b.value)
	return nil
}
