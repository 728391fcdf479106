// Package exampleclient connects the examples of packages' documentation to their etcd, see
// package exampletest. Without one it returns nil, and the examples are only compiled. Only
// tests import it.
package exampleclient

import (
	"log"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/exampletest"
)

// New returns a client.
func New() *etcd.Client {
	endpoints := exampletest.Endpoints()
	if len(endpoints) == 0 {
		return nil
	}
	c, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// Coordinator returns a coordinator of c, which may be nil.
func Coordinator(c *etcd.Client) *concurrency.Coordinator {
	if c == nil {
		return nil
	}
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	return co
}
