package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CA is an in-memory certificate authority for one test. Negative tests can make a
// client that trusts a CA other than the server's. It is safe for concurrent use.
type CA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

// NewCA makes a CA with a new key.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: making the CA's key: %w", err)
	}
	template, err := certTemplate("etcdtest CA")
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: making the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: reading the CA's certificate back: %w", err)
	}
	return &CA{key: key, cert: cert, pem: pemBlock("CERTIFICATE", der)}, nil
}

// PEM returns the CA's certificate.
func (ca *CA) PEM() []byte { return append([]byte(nil), ca.pem...) }

// ClientTLS returns the configuration of a client that trusts this CA and presents
// its certificate with the common name "root". Each call returns a new one, which
// the caller may change.
func (ca *CA) ClientTLS() (*tls.Config, error) {
	cert, err := ca.ClientCert("root")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
	}, nil
}

// ClientCert returns a client certificate with this common name, which etcd
// takes as the user's name when it authenticates by certificate.
func (ca *CA) ClientCert(commonName string) (tls.Certificate, error) {
	certPEM, keyPEM, err := ca.issue(commonName, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// ClientPEM returns a client certificate with this common name, and its key, in the
// form of file contents. The certificate is valid until the given time, which may
// be in the past.
func (ca *CA) ClientPEM(commonName string, until time.Time) (certPEM, keyPEM []byte, err error) {
	return ca.issueUntil(commonName, nil, until)
}

// issue signs a certificate for a client, or for a server with these hosts.
func (ca *CA) issue(commonName string, hosts []string) (certPEM, keyPEM []byte, err error) {
	return ca.issueUntil(commonName, hosts, time.Now().Add(24*time.Hour))
}

func (ca *CA) issueUntil(commonName string, hosts []string, until time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("etcdtest: making a key for %q: %w", commonName, err)
	}
	template, err := certTemplate(commonName)
	if err != nil {
		return nil, nil, err
	}
	template.NotAfter = until
	template.KeyUsage = x509.KeyUsageDigitalSignature
	// etcd also uses the server's certificate for its connections to itself, so
	// that certificate needs both uses.
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if hosts != nil {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("etcdtest: signing the certificate of %q: %w", commonName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("etcdtest: writing the key of %q: %w", commonName, err)
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", keyDER), nil
}

func certTemplate(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("etcdtest: choosing a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}, nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
