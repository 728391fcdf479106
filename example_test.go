package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"time"

	"silly.store/etcd"
)

func Example() {
	c, err := etcd.New(etcd.Config{Endpoints: endpoints}) // like "127.0.0.1:2379"
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if _, err := c.Put(ctx, etcd.PutRequest{Key: "greeting", Value: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	got, err := c.Get(ctx, etcd.GetRequest{Key: "greeting"})
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range got.KVs {
		fmt.Printf("%s = %s\n", kv.Key, kv.Value)
	}
	// Output: greeting = hello
}

// Members in the same data center: fail soon, and let the caller decide.
func ExampleNew() {
	c, err := etcd.New(etcd.Config{
		Endpoints:  []string{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"},
		Retry:      2,
		RetrySleep: 100 * time.Millisecond,
		Timeout:    2 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(len(c.Endpoints()), "endpoints")
	// Output: 3 endpoints
}

// With a certificate of the client's own.
func ExampleNew_tls() {
	cert, err := tls.LoadX509KeyPair("client.pem", "client.key")
	if err != nil {
		log.Fatal(err)
	}
	c, err := etcd.New(etcd.Config{
		Endpoints: []string{"https://etcd.example.com:2379"},
		TLS:       &tls.Config{Certificates: []tls.Certificate{cert}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Endpoints())
	// Output: [https://etcd.example.com:2379]
}

func ExampleClient_Ready() {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err) // says what is wrong with each endpoint
	}
	fmt.Println("the cluster serves")
	// Output: the cluster serves
}

func ExampleClient_Put() {
	put, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue"), PrevKV: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored at revision", put.Header.Revision)
	if put.PrevKV != nil {
		fmt.Printf("was %s\n", put.PrevKV.Value)
	}
	// Output:
	// stored at revision 17
	// was red
}

func ExampleClient_Get() {
	got, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil {
		log.Fatal(err)
	}
	color, ok := got.First()
	if !ok {
		fmt.Println("there is no color")
		return
	}
	fmt.Printf("%s, version %d\n", color.Value, color.Version)
	// Output: red, version 1
}

// The three keys below fruit/ that were changed last.
func ExampleClient_Get_prefix() {
	got, err := c.Get(ctx, etcd.GetRequest{
		Key:        "fruit/",
		Prefix:     true,
		SortTarget: etcd.SortByModRevision,
		SortOrder:  etcd.Descend,
		Limit:      3,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range got.KVs {
		fmt.Printf("%s = %s\n", kv.Key, kv.Value)
	}
	fmt.Println("of", got.Count)
	// Output:
	// fruit/apple = red
	// fruit/plum = blue
	// fruit/cherry = red
	// of 4
}

func ExampleClient_Range() {
	r, err := c.Range(ctx, etcd.GetRequest{Key: "users/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("users as of revision", r.Revision())
	for kv, err := range r.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s\n", kv.Key, kv.Value)
	}
	// Output:
	// users as of revision 16
	// users/ann = admin
	// users/bob = guest
}

func ExampleClient_Delete() {
	deleted, err := c.Delete(ctx, etcd.DeleteRequest{Key: "fruit/", Prefix: true, PrevKV: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(deleted.Deleted, "keys are gone:")
	for _, kv := range deleted.PrevKVs {
		fmt.Printf("%s was %s\n", kv.Key, kv.Value)
	}
	// Output:
	// 4 keys are gone:
	// fruit/apple was red
	// fruit/banana was yellow
	// fruit/cherry was red
	// fruit/plum was blue
}

// Create a key only if it does not exist, or else see what it is.
func ExampleClient_Txn() {
	txn, err := c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing("lock")},
		Then: []etcd.Op{etcd.PutRequest{Key: "lock", Value: []byte("me")}},
		Else: []etcd.Op{etcd.GetRequest{Key: "lock"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if txn.Succeeded {
		fmt.Println("the lock is mine")
	} else {
		lock, _ := txn.Responses[0].Get.First()
		fmt.Printf("the lock is held by %s\n", lock.Value)
	}
	// Output: the lock is mine
}

// Replace a value only if nobody has changed it since it was read.
func ExampleClient_Txn_replace() {
	for {
		got, err := c.Get(ctx, etcd.GetRequest{Key: "list"})
		if err != nil {
			log.Fatal(err)
		}
		// A key that does not exist has the ModRevision 0.
		old, _ := got.First()
		txn, err := c.Txn(ctx, etcd.TxnRequest{
			If:   []etcd.Compare{etcd.CompareModRevision("list", etcd.Equal, old.ModRevision)},
			Then: []etcd.Op{etcd.PutRequest{Key: "list", Value: append(old.Value, "one more\n"...)}},
		})
		if err != nil {
			log.Fatal(err)
		}
		if txn.Succeeded {
			fmt.Println("replaced at revision", txn.Header.Revision)
			break
		}
	}
	// Output: replaced at revision 17
}

// Forget all but the last ten changes.
func ExampleClient_Compact() {
	now, err := c.Get(ctx, etcd.GetRequest{Key: "any", CountOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	revision := now.Header.Revision - 10
	if revision <= 0 {
		return
	}
	// ErrCompacted: somebody else has compacted further.
	_, err = c.Compact(ctx, etcd.CompactRequest{Revision: revision})
	if err != nil && !errors.Is(err, etcd.ErrCompacted) {
		log.Fatal(err)
	}
	fmt.Println("the history begins at revision", revision)
	// Output: the history begins at revision 6
}

// Many keys at once, each with its own answer.
func ExampleClient_Batch() {
	names := []string{"color", "size", "weight"}
	gets := make([]etcd.Op, len(names))
	for i, name := range names {
		gets[i] = etcd.GetRequest{Key: "config/" + name}
	}
	for i, r := range c.Batch(ctx, gets...) {
		if r.Err != nil {
			log.Print(r.Err) // of this one; the others may be fine
			continue
		}
		if kv, ok := r.Get.First(); ok {
			fmt.Printf("%s = %s\n", names[i], kv.Value)
		}
	}
	// Output:
	// color = red
	// size = large
}

// Import many keys. Puts of the same values do no harm when they are made twice.
func ExampleWithRetryWrites() {
	var puts []etcd.Op
	for name, value := range map[string]string{"color": "red", "size": "large"} {
		puts = append(puts, etcd.PutRequest{Key: "config/" + name, Value: []byte(value)})
	}
	results := c.Batch(etcd.WithRetryWrites(ctx, etcd.AtLeastOnce), puts...)
	if err := results.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(results), "keys imported")
	// Output: 2 keys imported
}

// Make those operations again that have failed and may succeed now.
func ExampleBatchResults_Err() {
	gets := []etcd.Op{etcd.GetRequest{Key: "config/color"}, etcd.GetRequest{Key: "config/size"}}
	results := c.Batch(ctx, gets...)
	if err := results.Err(); err != nil {
		log.Print(err) // operations that failed, by their index, and why
	}
	var again []etcd.Op
	for _, r := range results {
		if etcd.Temporary(r.Err) {
			again = append(again, r.Op)
		}
	}
	results = c.Batch(ctx, again...)
	if err := results.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("made again:", len(again))
	// Output: made again: 0
}

// A put that does no harm when it is done twice can be done again.
func ExampleMaybeApplied() {
	req := etcd.PutRequest{Key: "state", Value: []byte("on")}
	_, err := c.Put(ctx, req)
	if etcd.MaybeApplied(err) {
		_, err = c.Put(ctx, req)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the state is on")
	// Output: the state is on
}

func ExampleError() {
	_, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("red"), Lease: 99})
	switch {
	case errors.Is(err, etcd.ErrLeaseNotFound):
		fmt.Println("the lease has ended")
	case errors.Is(err, etcd.ErrNoSpace):
		fmt.Println("the database is full")
	case errors.Is(err, etcd.ErrUnavailable):
		fmt.Println("no member can be reached")
	}
	var e *etcd.Error
	if errors.As(err, &e) {
		fmt.Printf("%s, attempt %d, %v: %s\n", e.Op, e.Attempts, e.Outcome, e.Message)
	}
	// Output:
	// the lease has ended
	// Put, attempt 1, rejected: etcdserver: requested lease not found
}

// A tenant sees its own keys only, under the names that it gave them.
func ExampleClient_Namespace() {
	tenant := c.Namespace("tenant-1/")
	if _, err := tenant.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("red")}); err != nil {
		log.Fatal(err)
	}
	inside, err := tenant.Get(ctx, etcd.GetRequest{Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	outside, err := c.Get(ctx, etcd.GetRequest{Key: "tenant-1/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(inside.KVs[0].Key, "is", outside.KVs[0].Key)
	// Output: color is tenant-1/color
}
