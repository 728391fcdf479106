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
// There is one [Client], with one method a verb. Each takes a context and a
// request struct, whose zero fields mean "not asked for", and returns one
// response.
//
// # Errors
//
// Every error is an [*Error] and says what became of the request: it was not
// sent, it was rejected, or nothing is known. [MaybeApplied] tells whether a
// write that failed may have been applied all the same. Known errors are found
// with [errors.Is] and the Err… variables.
//
// # Retries
//
// A call that fails is retried when that is safe: reads after any transient
// failure, writes only when it is certain that the failed attempt was not
// applied. See [Config].
//
// # Many callers
//
// Gets of single keys that many goroutines make at the same time share requests
// while the servers are busy; one alone is sent at once. Nothing of it shows but
// the speed. Puts and Deletes do so with [CoalesceAll], which tells what that
// changes. [Client.Batch] takes many operations of one caller.
//
// # Who asks
//
// A cluster with authentication wants Username and Password, or Credentials, in
// [Config]. The client gets a token for them when it first needs one, uses it on
// all connections, and gets another when the server no longer accepts it: calls
// wait for that, watches and leases go on. Passwords and tokens are in no error,
// and not in what these types print. [Client.Auth] manages users and roles.
//
// # Configuration
//
// Fill in [Config], or begin with [ConfigFromEnv], which reads the variables of
// etcdctl, or with [ParseDSN]. [TLSFiles] names certificate files, which are read
// anew for each connection.
//
// # Members
//
// [Client.Cluster] lists and changes the members of the cluster,
// [Client.Maintenance] looks after each of them: status, alarms,
// defragmentation, snapshots.
//
// # Endpoints
//
// Give [Config].Endpoints as many members as there are: calls are spread over
// those that serve, and go to another at once when one does not. The others can
// be learned from the cluster ([Client.Sync], [Config].SyncInterval), be found in
// DNS ([Config].DiscoverySRV), or be set ([Client.SetEndpoints]), also under a
// running client. All must belong to one cluster; what does not is refused with
// [ErrForeignCluster].
//
// # Bytes
//
// Requests are copied before a method returns. Responses belong to the caller
// and share memory with nothing else, but the parts of one response share its
// buffer, see [KeyValue].
package etcd
