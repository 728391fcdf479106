// Package follow tests internal/follow against real etcd servers and a model of the writes,
// under cuts, compactions and restored backups.
package follow
