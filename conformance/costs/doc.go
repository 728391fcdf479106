// Package costs measures the costs of the packages on top of package etcd. The figures in their
// documentation come from here.
package costs
