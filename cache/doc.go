// Package cache answers reads of a range of keys from memory. Each answer names its revision.
//
//	ca, err := cache.New(client, cache.Config{Key: "config/", Prefix: true})
//	if err != nil {
//		return err
//	}
//	defer ca.Close()
//	if err := ca.Ready(ctx); err != nil {
//		return err
//	}
//	kv, presence := ca.Peek("config/log-level")
//
// A [Cache] reads the range once and follows every change to it. Readers see whole
// revisions of the store, one after the other, and take no lock.
//
// # How fresh an answer is
//
//	freshness         the answer is the store's state                waits for
//	Peek, Local       at the revision R that the cache has reached   nothing, once it is ready
//	AtLeast(r)        at R, which is at least r                      the events up to r
//	Within(d)         that was current at most d ago                 nothing, or as Linearizable
//	Linearizable      at some time between call and return, or later one round trip that all waiting callers share
//	Exact(r)          at r                                           the events up to r
//
// A cache asks the server instead before it has read its range, after it has ended because the
// range is too large, when it no longer keeps the state at r, and when it cannot find out in time
// how current it is. [Result.FromServer] says so.
//
// In a partition Local and Peek go on with what they have, and [Cache.Stats] says how old
// that is. The others fail as [etcd.Client.Get] does.
//
// R never falls, across all goroutines and kinds of reads: a later reader sees everything that
// an earlier one has seen. There are two exceptions. When the cluster is
// restored from a backup, the revision may fall, and the epoch rises ([Snapshot.Epoch]). And
// Peek and Local may be behind an answer that came from the server.
//
// To read your own write, ask for its revision:
//
//	put, err := client.Put(ctx, etcd.PutRequest{Key: "config/log-level", Value: value})
//	…
//	r, err := ca.Get(ctx, "config/log-level", cache.AtLeast(put.Header.Revision))
//
// # Memory
//
// A cache holds the whole range in memory, up to Config.MaxBytes. Answers share the memory of the cache: do not
// write to a Value. Use [etcd.KeyValue.Clone] for a copy.
package cache
