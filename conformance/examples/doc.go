// Package examples runs the examples of the root module's documentation, each on an etcd of
// its own that holds a small store, and so checks their output. They stand in their
// packages, where the documentation shows them, and the root cannot bring a server.
package examples
