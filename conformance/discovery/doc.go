// Package discovery tests the package of that name on real etcd servers, beside client/v3's
// naming package.
package discovery
