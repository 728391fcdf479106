// Package etcdtest runs real etcd servers on loopback for tests, examples and
// benchmarks. Nothing in it is a fake.
//
// [Start] gives a test an embedded etcd in well under a second:
//
//	s := etcdtest.Start(t)
//	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
//
// [StartConfig] does the same with TLS, a unix socket, limits and so on; see
// [Config]. [StartProcess] runs etcd as a child process, which can be killed,
// stopped, continued and restarted, and [StartCluster] runs several of them as one
// cluster. Everything that a test starts is gone when the test ends. [New],
// [NewProcess] and [NewCluster] do the same for programs without a [testing.TB];
// call Close when done.
//
// # Addresses
//
// Every server listens on its own loopback ports. A bound socket holds each port
// from before the server starts until Close (SO_REUSEPORT). So no other program can
// take the port, even while a killed server is down, and connections to a server
// that is down are refused.
//
// # Child processes
//
// The package builds a child's server program with "go build" when it is first
// needed, never with the race detector. It keeps the program in the user's cache
// directory, under a name that depends on the etcd version, its go.sum and the Go
// version. Any number of test processes may need it at once. A child ends with its
// parent, even if the parent is killed.
//
// # Faults
//
// A server that is a child process can be killed, stopped and continued. A [Proxy]
// between client and server injects network faults, which [Fault] lists. It can
// also act as a balancer in front of several servers ([StartBalancer]).
// [Cluster.Isolate] cuts a member off from the others, and [Cluster.FaultPeers]
// delays or loses traffic between members. [Cluster.Remove] and [Cluster.Add]
// replace a member with an empty one at another address, as after the loss of its
// machine.
//
// # Other versions
//
// Config.Version selects the server: "3.5", "3.6" or "3.7" (the default). Only 3.7
// can be embedded; the others always run as child processes. The environment
// variable ETCDTEST_VERSION does the same for every server whose Config leaves
// Version empty, so that a whole test suite can run against an older server. A
// Config with a Configure function needs the embedded server and ignores the
// variable. The older servers are built from their own modules in servers/, which
// are part of a checkout of the repository but not of the module download.
package etcdtest
