package v3compat_test

import (
	"context"
	"log"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/v3compat"
)

// A lock of client/v3's, on this client: only the call of New differs.
func ExampleNew() {
	client, err := v3compat.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	session, err := concurrency.NewSession(client)
	if err != nil {
		log.Fatal(err)
	}
	mutex := concurrency.NewMutex(session, "jobs/lock")
	if err := mutex.Lock(context.Background()); err != nil {
		log.Fatal(err)
	}
	_ = mutex.Unlock(context.Background())
}

// One client for code that was rewritten and code that was not.
func ExampleWrap() {
	c, err := etcd.New(etcd.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	client := v3compat.Wrap(c)
	defer func() { _ = client.Close() }() // leaves c open

	_, err = client.Put(context.Background(), "key", "value")
	if etcd.MaybeApplied(err) {
		log.Print("the connection was lost while the answer was due")
	}
	_, err = c.Get(context.Background(), etcd.GetRequest{Key: "key"})
	if err != nil {
		log.Print(err)
	}
}
