// Package stm tests silly.store/etcd/stm on a real etcd.
package stm
