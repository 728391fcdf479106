package client

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// certificates are the files of a client, in a separate folder.
type certificates struct {
	t *testing.T
	etcd.TLSFiles
}

func newCertificates(t *testing.T) *certificates {
	dir := t.TempDir()
	return &certificates{t, etcd.TLSFiles{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client.key"),
	}}
}

func (c *certificates) write(path string, data []byte) {
	c.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// of writes a client certificate issued by ca.
func (c *certificates) of(ca *etcdtest.CA) {
	c.t.Helper()
	cert, key, err := ca.ClientPEM("client", time.Now().Add(time.Hour))
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(c.Key, key)
	c.write(c.Cert, cert)
}

func newAuthority(t *testing.T) *etcdtest.CA {
	t.Helper()
	ca, err := etcdtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Certificates are replaced under a running client: first the client's, then the
// servers' together with the authority's.
func TestTLSFilesAreReloaded(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	data := t.TempDir()
	first := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.MutualTLS, CA: ca, DataDir: data})
	var at atomic.Pointer[string]
	at.Store(&first.Endpoints()[0])
	var conns []net.Conn
	move := func(to *etcdtest.Server) {
		at.Store(&to.Endpoints()[0])
		for _, conn := range conns {
			_ = conn.Close()
		}
		conns = nil
	}
	files := newCertificates(t)
	files.write(files.CA, ca.PEM())
	files.of(other) // which the server does not trust

	dialed := make(chan net.Conn, 100)
	c := connect(t, etcd.Config{
		Endpoints: []string{"127.0.0.1:1"}, TLSFiles: files.TLSFiles, Retry: -1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(*at.Load(), "https://"))
			if err == nil {
				dialed <- conn
			}
			return conn, err
		},
	})
	try := func() error {
		_, err := c.Get(within(t, 10*time.Second), etcd.GetRequest{Key: "k"})
		for len(dialed) > 0 {
			conns = append(conns, <-dialed)
		}
		return err
	}
	works := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return try() == nil })
	}
	err := try()
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
	mustSay(t, err, "server refused the TLS connection", "Config.TLSFiles.Cert")
	files.of(ca)
	works("the new client certificate to be used")

	// Half a pair is ignored; the client presents the previous one.
	before, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := ca.ClientPEM("next", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	files.write(files.Cert, next)
	move(first)
	works("the former pair to be used")
	files.write(files.Cert, before)

	// The same member with a certificate of another authority.
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	move(etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.MutualTLS, CA: other, DataDir: data}))
	eventually(t, "the new server to be met", func() bool { err = try(); return err != nil && strings.Contains(err.Error(), "authority") })
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
	files.write(files.CA, append(ca.PEM(), other.PEM()...))
	files.of(other)
	works("the new authority to be used")
}

// Errors about a certificate have a sentinel and an explanation.
func TestTLSErrors(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.MutualTLS, CA: ca, CertHosts: []string{"127.0.0.1"}})
	good := newCertificates(t)
	good.write(good.CA, ca.PEM())
	good.of(ca)
	wrongCA := newCertificates(t)
	wrongCA.write(wrongCA.CA, newAuthority(t).PEM())
	wrongCA.of(ca)
	cert, key, err := ca.ClientPEM("client", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	expired, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	wrongName := good.TLSFiles
	wrongName.ServerName = "etcd.example"
	for say, config := range map[string]etcd.Config{
		"certificate is for another name":       {TLSFiles: wrongName},
		"not signed by a known authority":       {TLSFiles: wrongCA.TLSFiles},
		"want a client certificate from its CA": {TLSFiles: etcd.TLSFiles{CA: good.CA}},
		"server refused the TLS connection":     {TLSFiles: etcd.TLSFiles{CA: good.CA}, TLS: &tls.Config{Certificates: []tls.Certificate{expired}}},
	} {
		config.Endpoints = s.Endpoints()
		c := connect(t, config)
		_, err := c.Put(within(t, 10*time.Second), etcd.PutRequest{Key: "k"})
		wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
		mustSay(t, err, "Put", say)
	}
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLSFiles: good.TLSFiles})
	put(t, c, "k", "v")
}
