package queue_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/exampleclient"
	"silly.store/etcd/queue"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	c   = exampleclient.New()
	co  = exampleclient.Coordinator(c)
)

// A worker takes items in order. What it hands over to Ack is applied once, with the item's
// removal.
func ExampleQueue() {
	q, err := queue.New(co, queue.Config{Name: "mail", MaxAttempts: 5})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close(ctx)

	for _, it := range []queue.Item{
		{ID: "order-7", Value: []byte("to ann")},
		{ID: "order-8", Value: []byte("to bob"), Priority: 1},
		{ID: "order-7", Value: []byte("to ann")}, // it is there already
	} {
		if err := q.Add(ctx, it); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		cl, err := q.Take(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", cl.Item.ID, cl.Item.Value)
		if err := cl.Ack(ctx, etcd.PutRequest{Key: "sent/" + cl.Item.ID}); err != nil {
			log.Fatal(err)
		}
	}

	resp, err := c.Get(ctx, etcd.GetRequest{Key: "sent/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range resp.KVs {
		fmt.Println(kv.Key)
	}
	// Output:
	// order-8: to bob
	// order-7: to ann
	// sent/order-7
	// sent/order-8
}

// Work that fails is given back, and after some attempts becomes a dead letter.
func ExampleClaim_Nack() {
	q, err := queue.New(co, queue.Config{Name: "mail", MaxAttempts: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close(ctx)

	if err := q.Add(ctx, queue.Item{ID: "order-9", Value: []byte("to nobody")}); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		cl, err := q.Take(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("attempt", cl.Attempt)
		if err := cl.Nack(ctx, 10*time.Millisecond); err != nil {
			log.Fatal(err)
		}
	}
	for d, err := range q.Dead(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s is dead after %d attempts: %s\n", d.ID, d.Attempts, d.Value)
	}
	// Output:
	// attempt 1
	// attempt 2
	// order-9 is dead after 2 attempts: to nobody
}
