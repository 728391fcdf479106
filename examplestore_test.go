package etcd_test

import (
	"context"

	"silly.store/etcd/internal/exampleclient"
	"silly.store/etcd/internal/exampletest"
)

// What the examples begin with. conformance/examples runs each of them on an etcd of its
// own and checks its output; it says there what the store holds. Without an etcd, as
// when only this module is tested, they are compiled.
var (
	ctx       = context.Background()
	endpoints = exampletest.Endpoints()
	c         = exampleclient.New()
)
