// Package cache holds package cache against real etcd servers.
package cache
