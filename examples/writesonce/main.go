// Writesonce counts and moves money while cables are pulled: a proxy breaks every connection
// when answers are due. The counter has the exact total, and no coin is lost or made.
//
//	go run ./examples/writesonce
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
	"sync"
	"sync/atomic"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/examples/internal/example"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/sequence"
	"silly.store/etcd/stm"
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
	cable, err := etcdtest.NewProxy(e.Endpoints[0])
	if err != nil {
		return err
	}
	defer cable.Close()
	c, err := etcd.New(etcd.Config{Endpoints: []string{cable.Endpoint()}})
	if err != nil {
		return err
	}
	defer c.Close()
	co, err := concurrency.New(c, concurrency.Config{Name: e.Prefix + "session"})
	if err != nil {
		return err
	}
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{Name: e.Prefix + "writer"})
	if err != nil {
		return errors.Join(err, co.Close(ctx))
	}
	p := &program{out: out, cable: cable, w: w, prefix: e.Prefix}
	return errors.Join(p.count(ctx), p.transfer(ctx), w.Close(ctx), co.Close(ctx))
}

type program struct {
	out    io.Writer
	cable  *etcdtest.Proxy
	w      *idempotent.Writer
	prefix string
	done   atomic.Int64
}

const (
	goroutines = 4
	each       = 25
	pullEvery  = 5 // calls
)

// fromMany calls f from several goroutines, and pulls the cable now and then.
func (p *program) fromMany(f func() error) error {
	errs := make([]error, goroutines)
	var calls sync.WaitGroup
	for i := range errs {
		calls.Go(func() {
			for range each {
				if p.done.Add(1)%pullEvery == 0 {
					p.cable.CutAfter(etcdtest.ToClient, 1) // the next answer is lost
				}
				if errs[i] = f(); errs[i] != nil {
					return
				}
			}
		})
	}
	calls.Wait()
	p.cable.Heal()
	return errors.Join(errs...)
}

// count adds to a counter. A program that merely tries again after an error counts too
// much.
func (p *program) count(ctx context.Context) error {
	hits := sequence.NewCounter(p.w, p.prefix+"hits")
	err := p.fromMany(func() error {
		_, err := hits.Add(ctx, 1)
		return err
	})
	if err != nil {
		return err
	}
	total, err := hits.Add(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Counted %d times while answers were lost: %d\n", goroutines*each, total)
	return nil
}

// transfer moves coins between two accounts, each transfer once and as a whole.
func (p *program) transfer(ctx context.Context) error {
	ann, bob := p.prefix+"accounts/ann", p.prefix+"accounts/bob"
	add := func(tx *stm.Tx, account string, coins int) error {
		kv, _, err := tx.Get(account)
		if err != nil {
			return err
		}
		balance, _ := strconv.Atoi(string(kv.Value)) // a new account is empty
		return tx.Put(etcd.PutRequest{Key: account, Value: []byte(strconv.Itoa(balance + coins))})
	}
	err := p.fromMany(func() error {
		_, err := stm.Run(ctx, nil, stm.Config{Writer: p.w}, func(tx *stm.Tx) error {
			return errors.Join(add(tx, ann, -1), add(tx, bob, 1))
		})
		return err
	})
	if err != nil {
		return err
	}
	got, err := p.w.Client().Get(ctx, etcd.GetRequest{Key: p.prefix + "accounts/", Prefix: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Moved a coin %d times while answers were lost: ann %s, bob %s\n", goroutines*each, got.KVs[0].Value, got.KVs[1].Value)
	return nil
}
