package etcdtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// VersionEnv is the environment variable that chooses the server version for
// every [Config] that leaves Version empty.
const VersionEnv = "ETCDTEST_VERSION"

// defaultVersion is the only version that can be embedded.
const defaultVersion = "3.7"

var versions = []string{"3.5", "3.6", defaultVersion}

// TLSMode says what a server's client listener requires of a connection.
type TLSMode int

// The modes of a client listener.
const (
	// NoTLS is plain text.
	NoTLS TLSMode = iota
	// ServerTLS presents a certificate to clients and requires none from them.
	ServerTLS
	// MutualTLS also requires a client certificate of the same CA.
	MutualTLS
)

// String returns the constant's name, or "TLSMode(9)" for a value that is none of them.
func (m TLSMode) String() string {
	if m < NoTLS || m > MutualTLS {
		return fmt.Sprintf("TLSMode(%d)", int(m))
	}
	return [...]string{"NoTLS", "ServerTLS", "MutualTLS"}[m]
}

// Config describes a server. The zero value is a plain TCP server with etcd's
// default limits, with fsync off and with its data in a temporary directory. Zero
// fields keep etcd's default unless they say otherwise.
type Config struct {
	// Version is "3.5", "3.6" or "3.7". Empty means the environment variable
	// ETCDTEST_VERSION, or "3.7" when that is not set.
	Version string

	// DataDir is the data directory, which stays when the server closes. Empty
	// means a temporary directory, which is deleted.
	DataDir string

	// Unix listens for clients on a unix socket instead of a TCP port. The
	// member list of a 3.5 or 3.6 server can't name it.
	Unix bool

	// TLS is the mode of the client listener.
	TLS TLSMode
	// CA signs the server's certificate. Nil means a new one.
	CA *CA
	// CertHosts are the names and addresses of the server's certificate. Nil
	// means localhost and the loopback addresses.
	CertHosts []string
	// GRPCOnly moves etcd's HTTP endpoints to a separate listener, like its flag
	// listen-client-http-urls. Then grpc-go also serves TLS clients, which Go's
	// net/http does otherwise.
	GRPCOnly bool

	// Fsync makes the server wait for the disk as in production. Without it a test
	// is several times faster, and only a crash of the machine, not of the server,
	// loses data.
	Fsync bool
	// MaxTxnOps is the largest number of operations in one Txn.
	MaxTxnOps uint
	// MaxRequestBytes is the largest request in bytes.
	MaxRequestBytes uint
	// MaxConcurrentStreams is the largest number of streams on one connection.
	MaxConcurrentStreams uint32
	// QuotaBytes is the size of the database that raises the NOSPACE alarm.
	QuotaBytes int64
	// SnapshotCount is the number of applied entries between raft snapshots.
	SnapshotCount uint64

	// AuthToken is "simple" or "jwt,..." as in etcd's flag auth-token.
	AuthToken string
	// AuthTokenTTL is how long a simple token lives, in whole seconds.
	AuthTokenTTL time.Duration

	// AutoCompactionMode is "periodic" or "revision".
	AutoCompactionMode string
	// AutoCompactionRetention is a duration or a number of revisions.
	AutoCompactionRetention string
	// WatchProgressInterval is the time between progress notifications.
	WatchProgressInterval time.Duration

	// Heartbeat is the time between raft heartbeats, in whole milliseconds.
	// Zero means etcd's 100 ms for StartProcess, NewProcess and clusters, and
	// 10 ms for Start and New, since a server elects even itself only after
	// the election timeout.
	Heartbeat time.Duration
	// Election is how long a follower waits for a heartbeat, in whole
	// milliseconds; at least five heartbeats. Zero means ten heartbeats. It
	// also sets the shortest lease that etcd grants, which is one and a half
	// times as long, rounded up to a second: 2 s with etcd's own timing, 1 s
	// with that of Start.
	Election time.Duration

	// LogLevel is debug, info, warn or error. Empty means info.
	LogLevel string
	// Log gets a copy of the server's log. Nil means none; the log is still
	// kept for [Server.Log] and shown when a test fails.
	Log io.Writer

	// Configure changes the configuration of an embedded server after all other
	// fields were applied. It is an error for a server that runs as a child
	// process.
	Configure func(*embed.Config)
	// Args are further command line flags for a server that runs as a child
	// process, passed last. They are an error for an embedded one.
	Args []string
}

// ClusterConfig describes a cluster of child processes.
type ClusterConfig struct {
	// Size is the number of members. Zero means 3.
	Size int
	// Config is that of each member. DataDir must be empty.
	Config Config
	// PeerProxies routes the traffic between members through one [Proxy] per
	// member, for [Cluster.Isolate] and [Cluster.FaultPeers].
	PeerProxies bool
}

// resolved returns cfg with its version filled in, and whether it must or may
// be embedded.
func (cfg Config) resolved(process bool) (Config, bool, error) {
	fromEnv := false
	if cfg.Version == "" {
		cfg.Version = defaultVersion
		if v := os.Getenv(VersionEnv); v != "" && cfg.Configure == nil {
			cfg.Version, fromEnv = v, true
		}
	}
	if !slices.Contains(versions, cfg.Version) {
		source := "Config.Version"
		if fromEnv {
			source = VersionEnv
		}
		return cfg, false, fmt.Errorf("etcdtest: %s is %q, want one of %s", source, cfg.Version, strings.Join(versions, ", "))
	}
	embedded := !process && cfg.Version == defaultVersion
	if !embedded && cfg.Configure != nil {
		return cfg, false, errors.New("etcdtest: Config.Configure needs an embedded server, use Args for a child process")
	}
	if embedded && len(cfg.Args) > 0 {
		return cfg, false, errors.New("etcdtest: Config.Args needs a server that is a child process, use Configure for an embedded one")
	}
	if cfg.TLS < NoTLS || cfg.TLS > MutualTLS {
		return cfg, false, fmt.Errorf("etcdtest: Config.TLS is %d, want NoTLS, ServerTLS or MutualTLS", cfg.TLS)
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 100 * time.Millisecond
		if !process {
			cfg.Heartbeat = 10 * time.Millisecond
		}
	}
	if cfg.Election == 0 {
		cfg.Election = 10 * cfg.Heartbeat
	}
	if cfg.LogLevel == "" {
		cfg.LogLevel = "info"
	}
	return cfg, embedded, nil
}
