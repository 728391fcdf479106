package etcd_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"silly.store/etcd"
)

func ExampleClient_Watch() {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "config/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	if _, err := c.Put(ctx, etcd.PutRequest{Key: "config/color", Value: []byte("blue")}); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: "config/size"}); err != nil {
		log.Fatal(err)
	}
	for resp, err := range w.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, ev := range resp.Events {
			fmt.Printf("%v %s %s\n", ev.Type, ev.KV.Key, ev.KV.Value)
			if ev.Type == etcd.EventDelete {
				return
			}
		}
	}
	// Output:
	// PUT config/color blue
	// DELETE config/size
}

// A copy of a configuration: listed first, then followed from right behind the
// list, so that no change is missed and none applied twice. It is listed again
// when what would have to be followed is no longer there.
func ExampleClient_Watch_list() {
	follow := func() error {
		list, err := c.Get(ctx, etcd.GetRequest{Key: "config/", Prefix: true})
		if err != nil {
			return err
		}
		config := make(map[string]string)
		for _, kv := range list.KVs {
			config[kv.Key] = string(kv.Value)
		}

		// A change that comes between the two is not missed.
		if _, err := c.Put(ctx, etcd.PutRequest{Key: "config/color", Value: []byte("blue")}); err != nil {
			return err
		}

		w, err := c.Watch(ctx, etcd.WatchRequest{
			Key: "config/", Prefix: true, Revision: list.Header.Revision + 1,
		})
		if err != nil {
			return err
		}
		defer w.Close()
		for resp, err := range w.All(ctx) {
			if err != nil {
				return err
			}
			for _, ev := range resp.Events {
				switch ev.Type {
				case etcd.EventPut:
					config[ev.KV.Key] = string(ev.KV.Value)
				case etcd.EventDelete:
					delete(config, ev.KV.Key)
				}
			}
			fmt.Println(config)
			if config["config/color"] == "blue" {
				return nil // where a program would go on
			}
		}
		return nil
	}

	err := follow()
	for etcd.HistoryLost(err) {
		err = follow()
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output: map[config/color:blue config/size:large]
}

// Everything that has happened since a revision, as far as it is not compacted.
func ExampleClient_Watch_history() {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "audit/", Prefix: true, Revision: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	resp, err := w.Read(ctx)
	var compacted *etcd.CompactedError
	if errors.As(err, &compacted) {
		log.Fatal("the history begins at revision ", compacted.Revision)
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, ev := range resp.Events {
		fmt.Println(ev.KV.ModRevision, ev.Type, ev.KV.Key)
	}
	// Output:
	// 12 PUT audit/1
	// 13 PUT audit/2
}

// Another goroutine may end the watch.
func ExampleWatcher_Read() {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "jobs/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}

	if _, err := c.Put(ctx, etcd.PutRequest{Key: "jobs/1", Value: []byte("sweep")}); err != nil {
		log.Fatal(err)
	}
	for {
		resp, err := w.Read(ctx)
		if errors.Is(err, etcd.ErrWatchClosed) {
			fmt.Println("closed")
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, ev := range resp.Events {
			fmt.Println(ev.Type, ev.KV.Key)
		}
		go w.Close()
	}
	// Output:
	// PUT jobs/1
	// closed
}

// Wait until a lock is free, whether that happens before the watch has begun or
// after.
func ExampleWatcher_All() {
	lock, err := c.Get(ctx, etcd.GetRequest{Key: "mutex"})
	if err != nil {
		log.Fatal(err)
	}
	if len(lock.KVs) == 0 {
		fmt.Println("the lock is free")
		return
	}
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: "mutex"}); err != nil { // as its holder does
		log.Fatal(err)
	}
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "mutex", NoPut: true, Revision: lock.Header.Revision + 1})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	for resp, err := range w.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if len(resp.Events) > 0 {
			fmt.Println("the lock is free since revision", resp.Events[0].KV.ModRevision)
			return
		}
	}
	// Output: the lock is free since revision 17
}

// A watch whose members are all down goes on trying and says nothing to Read. A
// program that must not be behind for long looks at its state.
func ExampleWatcher_State() {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "config/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	// Again from time to time:
	if state := w.State(); state.Err != nil && time.Since(state.Since) > time.Minute {
		log.Printf("not served since %v: %v", state.Since, state.Err)
	} else {
		fmt.Println("next revision", state.NextRevision)
	}
	// Output: next revision 17
}

// How far a watch is when nothing happens to its keys: everything up to that
// revision has been seen, and a program may note so to go on there another time.
func ExampleWatchResponse_IsProgress() {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "jobs/", Prefix: true, ProgressNotify: true})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	w.RequestProgress() // and not wait for ProgressNotify
	var next int64
	for resp, err := range w.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if resp.IsProgress() {
			next = resp.Header.Revision + 1
			fmt.Println("go on from", next)
			return
		}
		for _, ev := range resp.Events {
			next = ev.KV.ModRevision + 1
			fmt.Println(ev.Type, ev.KV.Key)
		}
	}
	// Output: go on from 17
}
