package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// certificates makes a server's and a client's configuration, signed by a new
// authority.
func certificates(t *testing.T, mutual bool) (server, client *tls.Config) {
	t.Helper()
	caKey := newKey(t)
	ca := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, caKey, caKey)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	issue := func(name string) tls.Certificate {
		key := newKey(t)
		cert := sign(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, ca, key, caKey)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	server = &tls.Config{Certificates: []tls.Certificate{issue("etcd.test")}, NextProtos: []string{"h2"}}
	client = &tls.Config{RootCAs: pool, ServerName: "etcd.test"}
	if mutual {
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, pool
		client.Certificates = []tls.Certificate{issue("client")}
	}
	return server, client
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
