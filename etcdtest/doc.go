// Package etcdtest runs real etcd servers on loopback for tests, examples and
// benchmarks: nothing here is a fake.
//
// [Start] gives a test an embedded etcd in well under a second:
//
//	s := etcdtest.Start(t)
//	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
//
// [StartConfig] does the same with TLS, a unix socket, limits and so on; see
// [Config]. [StartProcess] runs etcd as a child process, which can be killed,
// stopped, continued and restarted, and [StartCluster] runs several of them as
// one cluster. Everything a test started is gone when the test ends. [New],
// [NewProcess] and [NewCluster] are the same for programs without a
// [testing.TB]; call Close when done.
//
// # Addresses
//
// Every server listens on loopback ports of its own. The port is held by a
// bound socket from before the server starts until Close (SO_REUSEPORT), so no
// other program can take it, also not while a killed server is down, and
// connections to a server that is down are refused.
//
// # Child processes
//
// The server program of a child is built with "go build" when it is first
// needed, and kept in the user's cache directory under a name made from the
// etcd version, the go.sum it was built from and the Go version. Any number of
// test processes may ask for it at once. It is never built with the race
// detector. A child ends with its parent, also when the parent is killed.
//
// # Faults
//
// Servers that are child processes are killed, stopped and continued. A
// [Proxy] between a client and a server makes the way faulty: [Fault] lists
// how. [Cluster.Isolate] cuts a member off from the others, and
// [Cluster.FaultPeers] delays or loses what the members say to each other.
// [Cluster.Remove] and [Cluster.Add] replace a member by an empty one elsewhere,
// as after the loss of its machine.
//
// # Other versions
//
// Config.Version picks another server: "3.5", "3.6" or "3.7" (the default).
// Only 3.7 can be embedded; the others always run as child processes. The
// environment variable ETCDTEST_VERSION does the same for every server whose
// Config leaves Version empty, which is how a whole test suite is run against
// an older server. A Config with a Configure function needs the embedded
// server and ignores the variable. The older servers are built from their own
// modules in servers/, which a checkout of the repository has and the module
// download has not.
package etcdtest
