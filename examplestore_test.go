package etcd_test

import (
	"context"
	"log"

	"silly.store/etcd"
	"silly.store/etcd/internal/exampletest"
)

// What the examples begin with. conformance/examples runs each of them on an etcd of its
// own and checks its output; it says there what the store holds. Without an etcd, as
// when only this module is tested, they are compiled.
var (
	ctx       = context.Background()
	endpoints = exampletest.Endpoints()
	c         = exampleClient()
)

func exampleClient() *etcd.Client {
	if len(endpoints) == 0 {
		return nil
	}
	c, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	return c
}
