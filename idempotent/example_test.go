package idempotent_test

import (
	"context"
	"fmt"
	"log"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/exampleclient"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	c   = exampleclient.New()
)

// A line that is added to a list once, also if the connection breaks while the answer is due.
func ExampleWriter_Txn() {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer co.Close(ctx)
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close(ctx)

	result, err := w.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing("orders/7")},
		Then: []etcd.Op{etcd.PutRequest{Key: "orders/7", Value: []byte("two apples")}},
		Else: []etcd.Op{etcd.GetRequest{Key: "orders/7"}},
	})
	switch {
	case etcd.MaybeApplied(err): // ctx ended before etcd could tell
		result, err = w.Resolve(context.Background(), err)
		fmt.Println(result, err)
	case err != nil:
		log.Fatal(err) // it was not applied, and won't be
	}
	fmt.Println("created:", result.Succeeded, "recovered:", result.Recovered)
	// Output:
	// created: true recovered: false
}

// An order that is made once, however often its message is delivered.
func ExampleWriter_Once() {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer co.Close(ctx)
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close(ctx)

	for range 3 { // in this process, or in others
		result, err := w.Once(ctx, "message-8312", etcd.TxnRequest{
			Then: []etcd.Op{etcd.PutRequest{Key: "orders/8", Value: []byte("a pear")}},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("applied before:", result.Recovered)
	}
	got, err := c.Get(ctx, etcd.GetRequest{Key: "orders/8"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("puts:", got.KVs[0].Version)
	// Output:
	// applied before: false
	// applied before: true
	// applied before: true
	// puts: 1
}

// A ticket, which is stored with the task before the first attempt, closes the last gap: no
// copy of any attempt is applied after its lease has ended.
func ExampleWriter_Ticket() {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer co.Close(ctx)
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close(ctx)

	ticket, err := w.Ticket(ctx, "invoice-12")
	if err != nil {
		log.Fatal(err)
	}
	// … store the ticket …
	for range 2 {
		result, err := w.OnceWith(ctx, ticket, etcd.TxnRequest{
			Then: []etcd.Op{etcd.PutRequest{Key: "invoices/12"}},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("applied before:", result.Recovered)
	}
	// Output:
	// applied before: false
	// applied before: true
}
