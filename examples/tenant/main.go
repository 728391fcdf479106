// Tenant gives each of two tenants a view of one etcd: they use the same keys and the same
// name of a lock, and do not meet.
//
//	go run ./examples/tenant
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
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
	all := c.Namespace(e.Prefix + "tenants/")
	for _, name := range []string{"red", "blue"} {
		if err := serve(ctx, all.Namespace(name+"/"), name); err != nil {
			return err
		}
	}

	// The one that owns the connections sees both.
	got, err := all.Get(ctx, etcd.GetRequest{Prefix: true})
	if err != nil {
		return err
	}
	for _, kv := range got.KVs {
		fmt.Fprintf(out, "%s = %s\n", kv.Key, kv.Value)
	}

	// A tenant that leaves takes its own keys along, and no others.
	if _, err := all.Namespace("red/").Delete(ctx, etcd.DeleteRequest{All: true}); err != nil {
		return err
	}
	got, err = all.Get(ctx, etcd.GetRequest{Prefix: true, KeysOnly: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "left: %d key, %s\n", len(got.KVs), got.KVs[0].Key)
	_, err = all.Delete(ctx, etcd.DeleteRequest{All: true})
	return err
}

// serve works for one tenant. It knows nothing about the others.
func serve(ctx context.Context, tenant *etcd.Client, name string) (err error) {
	co, err := concurrency.New(tenant, concurrency.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, co.Close(ctx)) }()
	return co.Mutex("migration", concurrency.MutexConfig{}).Do(ctx, func(ctx context.Context, l *concurrency.Lock) error {
		_, err := l.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "color", Value: []byte(name)}}})
		return err
	})
}
