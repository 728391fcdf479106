// Package codec tests package etcd's codec against the generated messages of etcd's
// API module: every field of every message, in both directions, merged, truncated,
// hostile and fuzzed.
//
// The tests need the build tag codectest, which gives them access to the unexported
// messages:
//
//	go test -tags codectest ./codec
//	go test -tags codectest -run '^$' -bench . ./codec
//	go test -tags codectest -run '^$' -fuzz FuzzTxnResponse ./codec
package codec
