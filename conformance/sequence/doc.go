// Package sequence tests silly.store/etcd/sequence on a real etcd.
package sequence
