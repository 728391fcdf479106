package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/transport"
)

// TLSFiles are PEM files to configure TLS from, see [Config.TLSFiles].
type TLSFiles struct {
	// CA holds the certificates of the authorities that sign the servers'.
	// Empty means the system's authorities.
	CA string
	// Cert holds the client's certificate, followed by intermediate ones if
	// there are any, and Key its private key, not encrypted. Set both or
	// neither.
	Cert string
	Key  string
	// ServerName is the name that the servers' certificates must be for. Empty
	// means the endpoint's host.
	ServerName string
}

// Config builds a configuration from the files, for other uses than
// [Config.TLSFiles]. Its client certificate is read again for each connection; its
// authorities stay what they are now. TLS 1.2 is the least it accepts.
//
// Errors: ErrInvalidConfig; the text names the file and what is wrong with it.
func (f TLSFiles) Config() (*tls.Config, error) {
	t, err := loadTLSFiles(f)
	if err != nil {
		return nil, invalidConfig("TLSFiles.Config", err)
	}
	return t.over(nil), nil
}

// tlsFiles holds the last usable content of the files. Its methods may be
// called concurrently.
type tlsFiles struct {
	TLSFiles
	roots atomic.Pointer[x509.CertPool]
	pair  atomic.Pointer[tls.Certificate]
}

func loadTLSFiles(f TLSFiles) (*tlsFiles, error) {
	t := &tlsFiles{TLSFiles: f}
	switch {
	case f.Cert != "" && f.Key == "":
		return nil, fmt.Errorf("Key is empty, but Cert %q needs its private key", f.Cert)
	case f.Key != "" && f.Cert == "":
		return nil, fmt.Errorf("Cert is empty, but Key %q is set", f.Key)
	}
	if err := t.readCA(); err != nil {
		return nil, err
	}
	return t, t.readPair()
}

// over returns base, which may be nil, with the content of the files.
func (t *tlsFiles) over(base *tls.Config) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		config = base.Clone()
	}
	if t.CA != "" {
		config.RootCAs = t.roots.Load()
	}
	if t.Cert != "" {
		config.GetClientCertificate = t.clientCertificate
	}
	if t.ServerName != "" {
		config.ServerName = t.ServerName
	}
	return config
}

// fresh is config, for a new connection, with the authorities as they are now.
func (t *tlsFiles) fresh(config *tls.Config) *tls.Config {
	if t == nil || config == nil || t.CA == "" {
		return config
	}
	_ = t.readCA() // the former will do for as long as it lasts
	config = config.Clone()
	config.RootCAs = t.roots.Load()
	return config
}

// clientCertificate is the certificate for a new connection. While the files do
// not belong together, because they are being replaced, it is the former one.
func (t *tlsFiles) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	err := t.readPair()
	pair := t.pair.Load()
	if err == nil || checkDates(pair.Leaf, time.Now()) == nil {
		return pair, nil
	}
	return nil, fmt.Errorf("%w: TLS client certificate: %w", transport.ErrMisconfigured, err)
}

func (t *tlsFiles) readCA() error {
	if t.CA == "" {
		return nil
	}
	data, err := os.ReadFile(t.CA)
	if err != nil {
		return fmt.Errorf("CA: %w", err)
	}
	roots, err := parseAuthorities(data, time.Now())
	if err != nil {
		return fmt.Errorf("CA %q %w", t.CA, err)
	}
	t.roots.Store(roots)
	return nil
}

func (t *tlsFiles) readPair() error {
	if t.Cert == "" {
		return nil
	}
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return fmt.Errorf("Cert: %w", err)
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return fmt.Errorf("Key: %w", err)
	}
	pair, err := t.parsePair(cert, key)
	if err != nil {
		return err
	}
	t.pair.Store(pair)
	return nil
}

// parseAuthorities reads the certificates of a file, one at least. Its errors
// follow the file's name.
func parseAuthorities(data []byte, now time.Time) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	var n int
	var expired error
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		if err := checkDates(cert, now); err != nil {
			expired = err
			continue
		}
		roots.AddCert(cert)
		n++
	}
	switch {
	case n > 0:
		return roots, nil
	case expired != nil:
		return nil, expired
	}
	return nil, errors.New(`holds no PEM certificate ("-----BEGIN CERTIFICATE-----")`)
}

func (t *tlsFiles) parsePair(cert, key []byte) (*tls.Certificate, error) {
	if !holds(cert, "CERTIFICATE") {
		return nil, fmt.Errorf(`Cert %q holds no PEM certificate ("-----BEGIN CERTIFICATE-----")`, t.Cert)
	}
	switch {
	case holds(key, "ENCRYPTED PRIVATE KEY"):
		return nil, fmt.Errorf("Key %q is encrypted; give it in plain", t.Key)
	case !holds(key, "PRIVATE KEY"):
		return nil, fmt.Errorf(`Key %q holds no PEM private key ("-----BEGIN PRIVATE KEY-----")`, t.Key)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		if strings.Contains(err.Error(), "does not match") {
			return nil, fmt.Errorf("Key %q is not the key of the certificate in Cert %q", t.Key, t.Cert)
		}
		return nil, fmt.Errorf("Cert %q and Key %q cannot be used: %w", t.Cert, t.Key, err)
	}
	if err := checkDates(pair.Leaf, time.Now()); err != nil {
		return nil, fmt.Errorf("Cert %q %w", t.Cert, err)
	}
	return &pair, nil
}

// holds reports whether a PEM file has a block whose type ends so.
func holds(data []byte, kind string) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
	return false
}

// checkDates says when a certificate that is not valid now was or will be.
func checkDates(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("has expired on %s", cert.NotAfter.UTC().Format(time.DateTime+" MST"))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is valid only from %s on", cert.NotBefore.UTC().Format(time.DateTime+" MST"))
	}
	return nil
}

// useTLSFiles makes TLS what TLSFiles says on top of it. It returns nil when there
// are no files.
func (c *Config) useTLSFiles() (*tlsFiles, error) {
	f := c.TLSFiles
	if f == (TLSFiles{}) {
		return nil, nil
	}
	if c.TLS != nil {
		switch {
		case f.CA != "" && c.TLS.RootCAs != nil:
			return nil, errors.New("Config.TLSFiles.CA and Config.TLS.RootCAs are both set; use one")
		case f.Cert != "" && (len(c.TLS.Certificates) > 0 || c.TLS.GetClientCertificate != nil):
			return nil, errors.New("Config.TLSFiles.Cert and a certificate in Config.TLS are both set; use one")
		case f.ServerName != "" && c.TLS.ServerName != "":
			return nil, errors.New("Config.TLSFiles.ServerName and Config.TLS.ServerName are both set; use one")
		}
	}
	t, err := loadTLSFiles(f)
	if err != nil {
		return nil, within("Config.TLSFiles", err)
	}
	c.TLS = t.over(c.TLS)
	return t, nil
}
