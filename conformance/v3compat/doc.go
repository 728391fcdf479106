// Package v3compat runs the packages of client/v3, and programs written for it,
// on silly.store/etcd/v3compat and a real etcd.
package v3compat
