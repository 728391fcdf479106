// Package idempotent tests silly.store/etcd/idempotent on a real etcd.
package idempotent
