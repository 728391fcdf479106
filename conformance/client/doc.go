// Package client tests the client against real etcd servers: every field of every
// request, every listener, and servers that stop, die, lag or are not etcd. It
// contains only tests.
package client
