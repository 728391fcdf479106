package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/discovery"
	"silly.store/etcd/internal/exampleclient"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	c   = exampleclient.New()
	co  = exampleclient.Coordinator(c)
)

// A server registers when it serves, and closes the registration before it stops.
func ExampleRegister() {
	reg, err := discovery.Register(ctx, co, discovery.Instance{
		Service: "search", ID: "host-1", Addr: "10.0.0.1:80", Metadata: map[string]any{"weight": 3, "zone": "b"},
	})
	if err != nil {
		log.Fatal(err)
	}
	kv, err := c.Get(ctx, etcd.GetRequest{Key: "search/host-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", kv.KVs[0].Value)
	if err := reg.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(reg.State().Phase)
	// Output:
	// {"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":3,"zone":"b"}}
	// closed
}

// Two programs with the same ID by mistake notice each other.
func ExampleRegisterConfig_Register() {
	i := discovery.Instance{Service: "search", ID: "host-1", Addr: "10.0.0.1:80"}
	reg, err := discovery.Register(ctx, co, i)
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(ctx)

	other, err := concurrency.New(c, concurrency.Config{}) // as in another program
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close(ctx)
	_, err = discovery.RegisterConfig{NoTakeover: true}.Register(ctx, other, i)
	fmt.Println(errors.Is(err, discovery.ErrExists))
	// Output: true
}

// A server whose load changes says so.
func ExampleRegistration_Update() {
	reg, err := discovery.Register(ctx, co, discovery.Instance{Service: "search", ID: "host-1", Addr: "10.0.0.1:80"})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(ctx)
	err = reg.Update(ctx, discovery.Instance{Addr: "10.0.0.1:80", Metadata: map[string]any{"weight": 1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reg.Instance().Weight())
	// Output: 1 true
}

// A program follows the instances of a service.
func ExampleWatch() {
	w, err := discovery.Watch(c, discovery.WatchConfig{Service: "search"})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	for set, err := range w.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, i := range set.Added {
			fmt.Println("added", i.ID, "at", i.Addr)
		}
		for _, i := range set.Removed {
			fmt.Println("removed", i.ID)
		}
		if len(set.Instances) > 0 {
			break
		}
		fmt.Println("there is none")
		if _, err := discovery.Register(ctx, co, discovery.Instance{Service: "search", ID: "host-1", Addr: "10.0.0.1:80"}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// there is none
	// added host-1 at 10.0.0.1:80
}

// A program that asks now and then needs no loop.
func ExampleWatcher_Current() {
	w, err := discovery.Watch(c, discovery.WatchConfig{Service: "services", Codec: discovery.Plain{}})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	if err := w.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	for _, i := range w.Current().Instances {
		fmt.Println(i.ID, i.Addr)
	}
	// Output: web 10.0.0.7:80
}
