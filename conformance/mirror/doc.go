// Package mirror tests the package of that name between real etcd servers.
package mirror
