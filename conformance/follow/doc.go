// Package follow holds internal/follow against real etcd servers: by a model of what was
// written, under cuts, compactions and restored backups.
package follow
