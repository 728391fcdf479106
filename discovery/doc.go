// Package discovery registers instances of services in etcd and finds them.
//
//	reg, err := discovery.Register(ctx, co, discovery.Instance{
//		Service: "search", ID: "host-1", Addr: "10.0.0.1:80",
//	})
//	if err != nil {
//		return err
//	}
//	defer reg.Close(ctx)
//
// Another program follows the set of instances:
//
//	w, err := discovery.Watch(client, discovery.WatchConfig{Service: "search"})
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	for set, err := range w.All(ctx) {
//		if err != nil {
//			return err
//		}
//		use(set.Instances)
//	}
//
// # Keys
//
// An instance is the key <Service>/<ID>, on the lease of a [concurrency.Coordinator]. Its
// value is by default what go.etcd.io/etcd/client/v3's naming/endpoints writes, so programs
// of both kinds find each other; a [Codec] reads and writes other values. Keys with a further
// "/" are instances of other services, unless WatchConfig.Nested says otherwise.
//
// # A registration
//
//	         put                       Update, deletion, lease lost
//	putting ─────▶ registered ───────────────────────────────────────▶ putting
//	   │                │
//	   ├──── Close ─────┴──▶ releasing ──▶ closed
//	   └──── overwritten by another lease, or what ends the Coordinator ──▶ ended
//
// A [Registration] never gives up before Close. It follows its own key, puts the key again
// when it is deleted, and takes another lease when its own is lost. Nobody notices an outage of
// etcd that is shorter than the TTL. Only an instance with the same ID that puts
// the key on another lease ends it, since the two would overwrite each other forever.
//
// # A watch
//
// A [Watcher] keeps the last set while etcd is away, and says since when ([Set.StaleSince]).
// A set is empty only if etcd has reported that there is no instance.
//
// # Permissions
//
// With authentication, a program that registers needs read and write permission for its
// key, and for those below concurrency.Config.Name; one that watches needs read permission
// for <Service>/.
package discovery
