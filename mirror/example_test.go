package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/exampleclient"
	"silly.store/etcd/mirror"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx    = context.Background()
	source = exampleclient.New()
	target = source // one cluster: the prefixes do not overlap
)

// Run copies until its context ends.
func ExampleMirror_Run() {
	m, err := mirror.New(source, target, mirror.Config{Name: "copy", Prefix: "fruit/", DestPrefix: "copy/"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()

	for m.Status().SyncedAt.IsZero() { // until the target is known to have everything
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
	resp, err := target.Get(context.Background(), etcd.GetRequest{Key: "copy/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range resp.KVs {
		fmt.Printf("%s is %s\n", kv.Key, kv.Value)
	}
	// Output:
	// copy/apple is red
	// copy/banana is yellow
	// copy/cherry is red
	// copy/plum is blue
}

// A comparison needs no Run.
func ExampleMirror_Verify() {
	m, err := mirror.New(source, target, mirror.Config{Name: "copy", Prefix: "fruit/", DestPrefix: "copy/"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Verify(ctx)
	fmt.Println("not copied yet:", errors.Is(err, mirror.ErrCopying))
	// Output: not copied yet: true
}

// printer is a sink that prints what it is given.
type printer struct{ stop func() }

func (p printer) Reset(_ context.Context, _ int64, pairs iter.Seq2[etcd.KeyValue, error]) error {
	for kv, err := range pairs {
		if err != nil {
			return err
		}
		fmt.Printf("%s is %s\n", kv.Key, kv.Value)
	}
	_, err := source.Delete(ctx, etcd.DeleteRequest{Key: "config/size"})
	return err
}

func (p printer) Apply(_ context.Context, _ int64, changes []mirror.Change) error {
	for _, ch := range changes {
		fmt.Println(ch.Key, "is gone:", ch.KV == nil)
	}
	p.stop()
	return nil
}

func (printer) Progress(context.Context, int64) error { return nil }

// Follow hands keys on to anything.
func ExampleFollow() {
	ctx, stop := context.WithCancel(ctx)
	err := mirror.Follow(ctx, source, mirror.FollowRequest{Key: "config/", Prefix: true}, printer{stop})
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// config/color is red
	// config/size is large
	// config/size is gone: true
	// true
}
