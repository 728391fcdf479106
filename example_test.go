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

// Every example but the first uses these. They are compiled, not run: they need
// a server. The programs in the folder examples bring one.
var (
	ctx = context.Background()
	c   *etcd.Client
)

func Example() {
	c, err := etcd.New(etcd.Config{Endpoints: []string{"127.0.0.1:2379"}})
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
}

// With a certificate of the client's own.
func ExampleNew_tls() {
	cert, err := tls.LoadX509KeyPair("client.crt", "client.key")
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
}

func ExampleClient_Ready() {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err) // says what is wrong with each endpoint
	}
}

func ExampleClient_Put() {
	put, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("red"), PrevKV: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored at revision", put.Header.Revision)
	if put.PrevKV != nil {
		fmt.Printf("was %s\n", put.PrevKV.Value)
	}
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
	fmt.Printf("%s, put %d times\n", color.Value, color.Version)
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
}

// Create a key only if it does not exist, or else see what it is.
func ExampleClient_Txn() {
	txn, err := c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareVersion("lock", etcd.Equal, 0)},
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
			return
		}
	}
}

// Forget all but the last thousand changes.
func ExampleClient_Compact() {
	now, err := c.Get(ctx, etcd.GetRequest{Key: "any", CountOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	revision := now.Header.Revision - 1000
	if revision <= 0 {
		return
	}
	// ErrCompacted: somebody else has compacted further.
	_, err = c.Compact(ctx, etcd.CompactRequest{Revision: revision})
	if err != nil && !errors.Is(err, etcd.ErrCompacted) {
		log.Fatal(err)
	}
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
}

func ExampleError() {
	_, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("red")})
	switch {
	case errors.Is(err, etcd.ErrNoSpace):
		log.Print("the database is full")
	case errors.Is(err, etcd.ErrUnavailable):
		log.Print("no member can be reached")
	case err != nil:
		log.Print(err)
	}
	var e *etcd.Error
	if errors.As(err, &e) {
		log.Printf("%s failed at %s after %d attempts: %v", e.Op, e.Endpoint, e.Attempts, e.Outcome)
	}
}
