// Package cache tests package cache against real etcd servers.
package cache
