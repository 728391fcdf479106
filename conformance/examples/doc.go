// Package examples runs the examples of the root module's documentation and checks their output,
// each on its own etcd with a small store. The examples are in their packages, where the
// documentation shows them, and the root module cannot depend on a server.
package examples
