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
	var args []string
	add := func(name string, value any) { args = append(args, fmt.Sprintf("--%s=%v", name, value)) }
	add("name", h.name)
	add("data-dir", h.dataDir)
	add("listen-client-urls", h.client.String())
	add("advertise-client-urls", h.advertised())
	add("listen-peer-urls", h.peer.String())
	add("initial-advertise-peer-urls", h.peerURL())
	add("listen-metrics-urls", h.metrics.String())
	add("initial-cluster", cluster)
	add("initial-cluster-state", state)
	add("initial-cluster-token", clusterToken)
	add("socket-reuse-port", canHoldPorts)
	if h.cfg.GRPCOnly {
		add("listen-client-http-urls", h.http.String())
	}
	if h.cfg.TLS != NoTLS {
		add("cert-file", h.certFile)
		add("key-file", h.keyFile)
	}
	if h.cfg.TLS == MutualTLS {
		add("trusted-ca-file", h.caFile)
		add("client-cert-auth", true)
	}
	add("unsafe-no-fsync", !h.cfg.Fsync)
	add("bcrypt-cost", bcryptCost)
	add("log-level", h.cfg.LogLevel)
	add("log-outputs", "stderr")
	add("heartbeat-interval", milliseconds(h.cfg.Heartbeat))
	add("election-timeout", milliseconds(h.cfg.Election))
	if h.cfg.MaxTxnOps != 0 {
		add("max-txn-ops", h.cfg.MaxTxnOps)
	}
	if h.cfg.MaxRequestBytes != 0 {
		add("max-request-bytes", h.cfg.MaxRequestBytes)
	}
	if h.cfg.MaxConcurrentStreams != 0 {
		add("max-concurrent-streams", h.cfg.MaxConcurrentStreams)
	}
	if h.cfg.QuotaBytes != 0 {
		add("quota-backend-bytes", h.cfg.QuotaBytes)
	}
	if h.cfg.SnapshotCount != 0 {
		add("snapshot-count", h.cfg.SnapshotCount)
	}
	if h.cfg.AuthToken != "" {
		add("auth-token", h.cfg.AuthToken)
	}
	if h.cfg.AuthTokenTTL != 0 {
		add("auth-token-ttl", int64(h.cfg.AuthTokenTTL/time.Second))
	}
	if h.cfg.AutoCompactionMode != "" {
		add("auto-compaction-mode", h.cfg.AutoCompactionMode)
	}
	if h.cfg.AutoCompactionRetention != "" {
		add("auto-compaction-retention", h.cfg.AutoCompactionRetention)
	}
	if h.cfg.WatchProgressInterval != 0 {
		name := "watch-progress-notify-interval"
		if h.cfg.Version == "3.5" {
			name = "experimental-" + name
		}
		add(name, h.cfg.WatchProgressInterval)
	}
	return append(args, h.cfg.Args...)
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
