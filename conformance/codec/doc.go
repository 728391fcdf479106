// Package codec holds the tests of package etcd's codec against the messages
// that etcd's own API module generates: every field of every message, in both
// directions, merged, truncated, hostile and fuzzed.
//
// They need the build tag codectest, which lets them at the unexported
// messages:
//
//	go test -tags codectest ./codec
//	go test -tags codectest -run '^$' -bench . ./codec
//	go test -tags codectest -run '^$' -fuzz FuzzTxnResponse ./codec
package codec
