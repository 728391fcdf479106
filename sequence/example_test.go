package sequence_test

import (
	"context"
	"fmt"
	"log"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/exampletest"
	"silly.store/etcd/sequence"
)

// The number of an order, which no other order of any program has.
func ExampleSequence_Next() {
	ctx := context.Background()
	c, err := etcd.New(etcd.Config{Endpoints: exampletest.Endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	orders, err := sequence.New(c, sequence.Config{Name: "sequences/orders"})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		id, err := orders.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("order", id)
	}
	// Output:
	// order 1
	// order 2
	// order 3
}

// A counter of several programs that is exact, also when answers are lost.
func ExampleCounter_Add() {
	ctx := context.Background()
	c, err := etcd.New(etcd.Config{Endpoints: exampletest.Endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
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

	hits := sequence.NewCounter(w, "hits")
	for range 3 {
		sum, err := hits.Add(ctx, 5)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sum)
	}
	// Output:
	// 5
	// 10
	// 15
}
