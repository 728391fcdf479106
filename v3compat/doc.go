// Package v3compat runs code that was written for go.etcd.io/etcd/client/v3 on
// the connections, retries, leases and watches of silly.store/etcd.
//
// [New] takes the place of clientv3.New, and [Wrap] makes a *clientv3.Client from an
// existing [etcd.Client]. Code that takes a *clientv3.Client runs on it
// unchanged, including the packages concurrency, leasing, mirror, namespace, naming and
// ordering of client/v3:
//
//	client, err := v3compat.New(clientv3.Config{Endpoints: endpoints})
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	session, err := concurrency.NewSession(client)
package v3compat
