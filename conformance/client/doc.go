// Package client holds the client against real etcd servers: every field of
// every request, every listener, and what happens when servers stop, die, lag
// or are something else. Its tests are all there is to it.
package client
