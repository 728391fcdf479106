package group_test

import (
	"context"
	"fmt"
	"log"

	"silly.store/etcd/group"
	"silly.store/etcd/internal/exampleclient"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	co  = exampleclient.Coordinator(exampleclient.New())
)

// A member works on its partitions until they move to another one. Here it is alone, and
// owns all.
func ExampleJoin() {
	owned := make(chan int)
	g, err := group.Join(ctx, co, group.Config{Name: "index", Partitions: 4, Member: "host-1", Settle: -1},
		func(ctx context.Context, p *group.Partition) error {
			select {
			case owned <- p.Index: // in place of some work
			case <-ctx.Done():
			}
			<-ctx.Done()
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	sum := 0
	for range 4 {
		sum += <-owned
	}
	fmt.Println("owns", g.Owned(), "sum", sum)
	fmt.Println("leaves:", g.Leave(ctx))
	// Output:
	// owns [0 1 2 3] sum 6
	// leaves: <nil>
}
