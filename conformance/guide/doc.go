// Package guide holds the code of docs/from-clientv3.md: everyday calls of client/v3 and
// of this client, one file for each. A test runs both on an etcd and compares what they print,
// and another compares the guide with the code. The code of the other guides is compiled.
package guide
