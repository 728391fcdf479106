// Package costs measures what the operations of the packages on top of package etcd cost: the
// figures in their documentation are from here.
package costs
