package etcdtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// home holds the parts of a server that outlive a run: its directory, its addresses
// and its certificates.
type home struct {
	cfg  Config
	name string

	dir     string // temporary: log, socket, certificates, and data unless DataDir is set
	dataDir string
	logPath string

	client, peer, metrics, http url.URL // http only with GRPCOnly
	peerProxy                   *Proxy  // nil without ClusterConfig.PeerProxies
	releases                    []func()

	ca                        *CA
	clientTLS                 *tls.Config
	certFile, keyFile, caFile string
}

// newHome prepares everything but the server itself.
func newHome(name string, cfg Config) (h *home, err error) {
	dir, err := os.MkdirTemp("", "etcdtest-")
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	h = &home{cfg: cfg, name: name, dir: dir, dataDir: cfg.DataDir, logPath: filepath.Join(dir, "etcd.log")}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.remove())
		}
	}()
	if h.dataDir == "" {
		h.dataDir = filepath.Join(dir, "data")
	}
	if cfg.TLS != NoTLS {
		if err := h.writeCertificates(); err != nil {
			return h, err
		}
	}
	scheme := "http"
	if cfg.TLS != NoTLS {
		scheme = "https"
	}
	if cfg.Unix {
		h.client = url.URL{Scheme: "unix", Path: filepath.Join(dir, "client.sock")}
		if cfg.TLS != NoTLS {
			h.client.Scheme = "unixs"
		}
	} else if h.client, err = h.hold(scheme); err != nil {
		return h, err
	}
	if cfg.GRPCOnly {
		if h.http, err = h.hold(scheme); err != nil {
			return h, err
		}
	}
	if h.peer, err = h.hold("http"); err != nil {
		return h, err
	}
	if h.metrics, err = h.hold("http"); err != nil {
		return h, err
	}
	return h, nil
}

func (h *home) hold(scheme string) (url.URL, error) {
	addr, release, err := holdPort()
	if err != nil {
		return url.URL{}, err
	}
	h.releases = append(h.releases, release)
	return url.URL{Scheme: scheme, Host: addr}, nil
}

func (h *home) writeCertificates() error {
	h.ca = h.cfg.CA
	if h.ca == nil {
		ca, err := NewCA()
		if err != nil {
			return err
		}
		h.ca = ca
	}
	hosts := h.cfg.CertHosts
	if hosts == nil {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	certPEM, keyPEM, err := h.ca.issue("etcd server", hosts)
	if err != nil {
		return err
	}
	h.certFile = filepath.Join(h.dir, "server.crt")
	h.keyFile = filepath.Join(h.dir, "server.key")
	h.caFile = filepath.Join(h.dir, "ca.crt")
	for name, data := range map[string][]byte{h.certFile: certPEM, h.keyFile: keyPEM, h.caFile: h.ca.pem} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return fmt.Errorf("etcdtest: %w", err)
		}
	}
	h.clientTLS, err = h.ca.ClientTLS()
	return err
}

// endpoint is the URL for clients. A unix socket keeps the scheme unix under TLS
// too: the client's TLS configuration turns TLS on.
func (h *home) endpoint() string {
	if h.cfg.Unix {
		return "unix://" + h.client.Path
	}
	return h.client.String()
}

func (h *home) addr() string {
	if h.cfg.Unix {
		return h.client.Path
	}
	return h.client.Host
}

// remove releases the ports and deletes the temporary directory.
func (h *home) remove() error {
	for _, release := range h.releases {
		release()
	}
	h.releases = nil
	if h.peerProxy != nil {
		if err := h.peerProxy.Close(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return fmt.Errorf("etcdtest: %w", err)
	}
	return nil
}

// proxyPeers puts a proxy in front of the peer listener.
func (h *home) proxyPeers() error {
	var err error
	h.peerProxy, err = newProxy("127.0.0.1:0", h.peer.String(), true)
	return err
}

// peerURL is the URL at which the other members reach this one.
func (h *home) peerURL() string {
	if h.peerProxy != nil {
		return h.peerProxy.Endpoint()
	}
	return h.peer.String()
}

// asPeer is the server's entry in etcd's initial-cluster.
func (h *home) asPeer() string { return h.name + "=" + h.peerURL() }

func milliseconds(d time.Duration) uint { return uint(d / time.Millisecond) }
