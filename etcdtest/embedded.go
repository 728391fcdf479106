package etcdtest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
)

// stopLimit is how long an embedded server may take to shut down.
const stopLimit = 10 * time.Second

// embedded is one run of an etcd in this process.
type embedded struct {
	etcd *embed.Etcd
	log  *os.File

	mu   sync.Mutex // protects grpc
	grpc []*grpc.Server
}

// startEmbedded runs an etcd in this process and waits until it serves.
func startEmbedded(h *home) (_ *embedded, err error) {
	log, err := os.OpenFile(h.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	e := &embedded{log: log}
	cfg, err := e.configure(h)
	if err != nil {
		log.Close()
		return nil, err
	}
	if e.etcd, err = embed.StartEtcd(cfg); err != nil {
		log.Close()
		return nil, fmt.Errorf("etcdtest: starting etcd: %w", err)
	}
	if err := e.awaitReady(); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	return e, nil
}

// configure makes the server's configuration. It logs to e.log, and notes its gRPC servers.
func (e *embedded) configure(h *home) (*embed.Config, error) {
	cfg, err := h.embedConfig()
	if err != nil {
		return nil, err
	}
	level, err := zapcore.ParseLevel(h.cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: Config.LogLevel: %w", err)
	}
	var out io.Writer = e.log
	if h.cfg.Log != nil {
		out = io.MultiWriter(e.log, h.cfg.Log)
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(out)), level)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core))
	if h.cfg.Configure != nil {
		h.cfg.Configure(cfg)
	}
	register := cfg.ServiceRegister
	cfg.ServiceRegister = func(s *grpc.Server) {
		e.mu.Lock()
		e.grpc = append(e.grpc, s)
		e.mu.Unlock()
		if register != nil {
			register(s)
		}
	}
	return cfg, nil
}

// awaitReady waits until the server serves.
func (e *embedded) awaitReady() error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-e.etcd.Server.ReadyNotify():
		return nil
	case err := <-e.etcd.Err():
		return fmt.Errorf("etcdtest: etcd failed while it started: %w", err)
	case <-e.etcd.Server.StopNotify():
		return errors.New("etcdtest: etcd stopped while it started")
	case <-limit.C:
		return fmt.Errorf("etcdtest: etcd was not ready within %v", startLimit)
	}
}

// stop cuts every client connection and ends the server. Otherwise etcd would wait
// some seconds for open streams, and forever for a connection that never sent a
// byte, because it can't tell which protocol that speaks.
func (e *embedded) stop() error {
	e.mu.Lock()
	servers := e.grpc
	e.mu.Unlock()
	for _, s := range servers {
		s.Stop()
	}
	done := make(chan struct{})
	go func() {
		e.etcd.Close()
		close(done)
	}()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-done:
		return e.log.Close()
	case <-limit.C:
		e.etcd.Server.Stop()
		return fmt.Errorf("etcdtest: etcd did not shut down within %v; does the test hold a connection on which it has sent nothing?", stopLimit)
	}
}

func (h *home) embedConfig() (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name = h.name
	cfg.Dir = h.dataDir
	cfg.ListenClientUrls = []url.URL{h.client}
	cfg.AdvertiseClientUrls = []url.URL{h.client}
	cfg.ListenPeerUrls = []url.URL{h.peer}
	cfg.AdvertisePeerUrls = []url.URL{h.peer}
	cfg.ListenMetricsUrls = []url.URL{h.metrics}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.SocketOpts.ReusePort = canHoldPorts
	if h.cfg.GRPCOnly {
		cfg.ListenClientHttpUrls = []url.URL{h.http}
	}
	if h.cfg.TLS != NoTLS {
		cfg.ClientTLSInfo.CertFile = h.certFile
		cfg.ClientTLSInfo.KeyFile = h.keyFile
	}
	if h.cfg.TLS == MutualTLS {
		cfg.ClientTLSInfo.TrustedCAFile = h.caFile
		cfg.ClientTLSInfo.ClientCertAuth = true
	}
	cfg.UnsafeNoFsync = !h.cfg.Fsync
	cfg.BcryptCost = bcryptCost
	cfg.LogLevel = h.cfg.LogLevel
	cfg.TickMs = milliseconds(h.cfg.Heartbeat)
	cfg.ElectionMs = milliseconds(h.cfg.Election)
	set(&cfg.MaxTxnOps, h.cfg.MaxTxnOps)
	set(&cfg.MaxRequestBytes, h.cfg.MaxRequestBytes)
	set(&cfg.MaxConcurrentStreams, h.cfg.MaxConcurrentStreams)
	set(&cfg.QuotaBackendBytes, h.cfg.QuotaBytes)
	set(&cfg.SnapshotCount, h.cfg.SnapshotCount)
	set(&cfg.AuthToken, h.cfg.AuthToken)
	set(&cfg.AuthTokenTTL, uint(h.cfg.AuthTokenTTL/time.Second))
	set(&cfg.AutoCompactionMode, h.cfg.AutoCompactionMode)
	set(&cfg.AutoCompactionRetention, h.cfg.AutoCompactionRetention)
	set(&cfg.WatchProgressNotifyInterval, h.cfg.WatchProgressInterval)
	return cfg, nil
}

// set changes *to unless v is zero.
func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}
