// Package concurrency coordinates processes through etcd: mutexes, reader-writer locks,
// semaphores, elections and barriers.
//
//	co, err := concurrency.New(client, concurrency.Config{})
//	if err != nil {
//		return err
//	}
//	defer co.Close(ctx)
//
//	l, err := co.Mutex("jobs/42", concurrency.MutexConfig{}).Lock(ctx)
//	if err != nil {
//		return err
//	}
//	defer l.Unlock(ctx)
//	work(l.Context())
//
// A [Coordinator] keeps the leases, and all its recipes share them: a program needs
// one Coordinator, however many locks it has. A recipe is only a name: making
// one costs nothing, and it may be used concurrently.
//
// # A lock is not enough
//
// No lock over a network can stop a holder that was paused for longer than its lease
// lives from acting when it wakes up. [Lock.Context] ends before the lease can, and work
// that respects it is safe as long as the process runs. To be safe in any case, write
// with [Lock.Txn], which etcd refuses once the lock is lost, or give [Lock.Token] to the
// resource, which then refuses tokens below the highest that it has seen.
//
// # What a context bounds
//
// The context of a call bounds only the waiting, neither the lock that is held nor its release:
// when it ends during Lock or Unlock, the Coordinator goes on deleting the key until etcd has
// answered or the lease has ended.
//
// # Sharing with client/v3
//
// [Mutex] and [Election] have the keys and the order of go.etcd.io/etcd/client/v3's
// concurrency package, of etcdctl lock and elect, and of etcd's lock and election services;
// [RWMutex] and [Barrier] have those of its recipes. Programs of both kinds may contend for
// the same names. Where tokens of both kinds meet, take the create revision of the key
// ([Lock.Token]) from client/v3 as well: the revision of its Header is another one and may
// go back from one holder to the next. Do not give a lease of a Coordinator to client/v3's
// sessions, or the other way round.
//
// # Permissions
//
// With authentication, the user needs read and write permission for the keys of the names
// (the name, "/" and everything after it), and for those below [Config.Name]. All keys
// of a Coordinator are on a few leases, and etcd renews a lease only for users that may
// write each key on it: if the permission for one name is taken away, the locks of other
// names are lost as well. Use a Coordinator for each domain of permissions.
//
// # Names
//
// A name is a prefix of keys: a contender's key is the name, "/" and the lease. Keys with
// a further "/" are not contenders, so that the names "jobs" and "jobs/42" can be locked
// separately. client/v3 counts these as contenders for "jobs": do not nest names that it
// shares.
package concurrency
