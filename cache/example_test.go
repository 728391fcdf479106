package cache_test

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/internal/exampleclient"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx    = context.Background()
	c      = exampleclient.New()
	config = exampleCache()
)

func exampleCache() *cache.Cache {
	if c == nil {
		return nil
	}
	config, err := cache.New(c, cache.Config{Key: "config/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	return config
}

// A program makes a cache at its start, and reads without a request from then on.
func ExampleNew() {
	config, err := cache.New(c, cache.Config{Key: "config/", Prefix: true, MaxBytes: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer config.Close()
	ready, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := config.Ready(ready); err != nil {
		log.Fatal(err)
	}
	if kv, presence := config.Peek("config/color"); presence == cache.Present {
		fmt.Printf("the color is %s\n", kv.Value)
	}
	_, presence := config.Peek("config/weight")
	fmt.Println("the weight is", presence)
	// Output:
	// the color is red
	// the weight is absent
}

// Whatever any client has written before the call is in the answer. Callers that wait at the
// same time share one request.
func ExampleCache_Get() {
	r, err := config.Get(ctx, "config/size", cache.Linearizable)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, found: %v\n", r.KV.Value, r.Found)
	// Output: large, found: true
}

// A program reads what it has just written itself.
func ExampleAtLeast() {
	put, err := c.Put(ctx, etcd.PutRequest{Key: "config/color", Value: []byte("blue")})
	if err != nil {
		log.Fatal(err)
	}
	r, err := config.Get(ctx, "config/color", cache.AtLeast(put.Header.Revision))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, behind the write: %v\n", r.KV.Value, r.Revision < put.Header.Revision)
	// Output: blue, behind the write: false
}

// Several keys of one revision, and what has changed since.
func ExampleCache_Snapshot() {
	before, err := config.Snapshot(ctx, cache.Linearizable)
	if err != nil {
		log.Fatal(err)
	}
	for kv := range before.All("config/") {
		fmt.Printf("%s is %s\n", kv.Key, kv.Value)
	}
	put, err := c.Put(ctx, etcd.PutRequest{Key: "config/weight", Value: []byte("7")})
	if err != nil {
		log.Fatal(err)
	}
	after, err := config.Snapshot(ctx, cache.AtLeast(put.Header.Revision))
	if err != nil {
		log.Fatal(err)
	}
	for ch := range after.Diff(before) {
		fmt.Printf("%s is new: %v\n", ch.Key(), ch.Old == nil)
	}
	// Output:
	// config/color is red
	// config/size is large
	// config/weight is new: true
}

// What is there, and then each change.
func ExampleCache_Subscribe() {
	sub := config.Subscribe("config/")
	for u, err := range sub.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for ch := range u.Changes() {
			switch {
			case ch.New == nil:
				fmt.Println(ch.Key(), "is gone")
			default:
				fmt.Printf("%s is %s\n", ch.Key(), ch.New.Value)
			}
		}
		if !u.First {
			break
		}
		if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: "config/size"}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// config/color is red
	// config/size is large
	// config/size is gone
}

// A value is decoded once, and a broken one does not replace the last that was good.
func ExampleNewTyped() {
	limits, err := cache.NewTyped(config, cache.TypedConfig[int]{
		Decode:   func(kv etcd.KeyValue) (int, error) { return strconv.Atoi(string(kv.Value)) },
		KeepLast: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range []string{"10", "many"} {
		put, err := c.Put(ctx, etcd.PutRequest{Key: "config/limit", Value: []byte(value)})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := config.Snapshot(ctx, cache.AtLeast(put.Header.Revision)); err != nil {
			log.Fatal(err)
		}
		limit, _ := limits.Peek("config/limit")
		fmt.Println(limit.Value, limit.Last)
	}
	fmt.Println("failures:", limits.Failures())
	// Output:
	// 10 false
	// 10 true
	// failures: 1
}
