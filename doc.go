// Package etcd is a client for etcd v3 (server 3.5 and newer).
//
//	c, err := etcd.New(etcd.Config{Endpoints: []string{"127.0.0.1:2379"}})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	_, err = c.Put(ctx, etcd.PutRequest{Key: "greeting", Value: []byte("hello")})
//	got, err := c.Get(ctx, etcd.GetRequest{Key: "greeting"})
//
// There is one [Client], with one method per operation. Each takes a context and a
// request struct, whose zero fields mean "not asked for", and returns one
// response.
//
// # Errors
//
// Every error is an [*Error] and reports the outcome of the request: it was not
// sent, it was rejected, or the outcome is unknown. [MaybeApplied] reports whether a
// failed write may have been applied, and [Temporary] whether the same call may succeed
// later. [errors.Is] finds known errors by the Err… variables; [Error] lists those that
// every call can return.
//
// # Retries
//
// The client retries a failed call when that is safe: reads after any transient
// failure, writes only when the failed attempt was certainly not applied. See
// [Config], and [WithRetryWrites] for single calls.
//
// # Concurrent calls
//
// While the servers are busy, concurrent Gets of single keys share requests; a call
// without company is sent at once. The only visible effect is speed. Puts and Deletes
// share requests with [CoalesceAll], whose documentation describes the differences.
// [Client.Batch] takes many operations of one caller.
//
// # What a context bounds
//
// The context of a call with a single answer bounds all of it. Of the others:
//
//	call                            its context bounds        what it made ends with
//	Client.Range                    the loop over All too     the loop
//	Maintenance.Snapshot            the reading too           its end, Snapshot.Close
//	Maintenance.SaveSnapshot        all of it
//	Client.Watch                    the opening               Watcher.Close
//	Watcher.Read                    this Read
//	Client.KeepAlive                the opening               KeepAliveStream.Close
//	KeepAliveStream.Read, Write     this Read or Write
//	Client.Grant, Adopt             the request               Lease.Revoke, Client.Close
//
// # Authentication
//
// A cluster with authentication requires Username and Password, or Credentials, in
// [Config]. The client obtains a token with them when it first needs one, uses it on
// all connections, and obtains another one when the server no longer accepts it. Calls
// wait for the token; watches and leases continue. Passwords and tokens never appear in
// errors, nor in the printed form of these types. [Client.Auth] manages users and roles.
//
// Members see the user agent silly-etcd/ with [Version].
//
// # Configuration
//
// Fill in [Config], or begin with [ConfigFromEnv], which reads the variables of
// etcdctl, or with [ParseDSN]. [TLSFiles] names certificate files, which the client reads
// again for each connection.
//
// # Members
//
// [Client.Cluster] lists and changes the members of the cluster.
// [Client.Maintenance] maintains single members: status, alarms, defragmentation,
// snapshots.
//
// # Endpoints
//
// List all members in [Config].Endpoints: the client spreads calls over those that serve,
// and moves a call to another member at once when one does not. It can also learn
// endpoints from the cluster ([Client.Sync], [Config].SyncInterval) and from DNS
// ([Config].DiscoverySRV), and [Client.SetEndpoints] replaces them in a running client.
// All must belong to one cluster; the client refuses others with [ErrForeignCluster].
//
// # Bytes
//
// A method copies its request before it returns. Responses belong to the caller and
// share memory with nothing else; the parts of one response share its buffer, see
// [KeyValue].
package etcd
