package etcdtest

import (
	"fmt"
	"time"
)

// bcryptCost is the minimum, because tests hash many passwords.
const bcryptCost = 4

// clusterToken is etcd's initial-cluster-token.
const clusterToken = "etcdtest"

// The values of etcd's initial-cluster-state.
const (
	newCluster      = "new"
	existingCluster = "existing"
)

// flags returns the command line of a child process server. cluster is etcd's
// initial-cluster, state its initial-cluster-state.
func (h *home) flags(cluster, state string) []string {
	var f flags
	f.add("name", h.name)
	f.add("data-dir", h.dataDir)
	f.add("listen-client-urls", h.client.String())
	f.add("advertise-client-urls", h.advertised())
	f.add("listen-peer-urls", h.peer.String())
	f.add("initial-advertise-peer-urls", h.peerURL())
	f.add("listen-metrics-urls", h.metrics.String())
	f.add("initial-cluster", cluster)
	f.add("initial-cluster-state", state)
	f.add("initial-cluster-token", clusterToken)
	f.add("socket-reuse-port", canHoldPorts)
	if h.cfg.GRPCOnly {
		f.add("listen-client-http-urls", h.http.String())
	}
	if h.cfg.TLS != NoTLS {
		f.add("cert-file", h.certFile)
		f.add("key-file", h.keyFile)
	}
	if h.cfg.TLS == MutualTLS {
		f.add("trusted-ca-file", h.caFile)
		f.add("client-cert-auth", true)
	}
	f.add("unsafe-no-fsync", !h.cfg.Fsync)
	f.add("bcrypt-cost", bcryptCost)
	f.add("log-level", h.cfg.LogLevel)
	f.add("log-outputs", "stderr")
	f.add("heartbeat-interval", milliseconds(h.cfg.Heartbeat))
	f.add("election-timeout", milliseconds(h.cfg.Election))
	f.addLimits(&h.cfg)
	return append(f, h.cfg.Args...)
}

// flags are a command line.
type flags []string

func (f *flags) add(name string, value any) { *f = append(*f, fmt.Sprintf("--%s=%v", name, value)) }

// addLimits adds what the configuration sets; etcd's defaults stand for zero fields.
func (f *flags) addLimits(c *Config) {
	addSet(f, "max-txn-ops", c.MaxTxnOps)
	addSet(f, "max-request-bytes", c.MaxRequestBytes)
	addSet(f, "max-concurrent-streams", c.MaxConcurrentStreams)
	addSet(f, "quota-backend-bytes", c.QuotaBytes)
	addSet(f, "snapshot-count", c.SnapshotCount)
	addSet(f, "auth-token", c.AuthToken)
	addSet(f, "auth-token-ttl", int64(c.AuthTokenTTL/time.Second))
	addSet(f, "auto-compaction-mode", c.AutoCompactionMode)
	addSet(f, "auto-compaction-retention", c.AutoCompactionRetention)
	progress := "watch-progress-notify-interval"
	if c.Version == "3.5" {
		progress = "experimental-" + progress
	}
	addSet(f, progress, c.WatchProgressInterval)
}

func addSet[T comparable](f *flags, name string, value T) {
	var zero T
	if value != zero {
		f.add(name, value)
	}
}

// advertised is the client URL that the server puts into its member list. Before
// 3.7 etcd accepts no URL without a port, so there a unix socket is advertised
// under a name that can't be used.
func (h *home) advertised() string {
	if h.cfg.Unix && h.cfg.Version != defaultVersion {
		return h.client.Scheme + "://client.sock:0"
	}
	return h.client.String()
}
