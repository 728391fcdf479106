package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/internal/transport"
)

// testPair makes a self-signed certificate with its key, both in PEM.
func testPair(t *testing.T, from, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func testFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLSFilesErrors(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	file := func(name string, data []byte) string { return testFile(t, filepath.Join(dir, name), data) }
	cert, key := testPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	old, oldKey := testPair(t, now.Add(-time.Hour), now.Add(-time.Minute))
	next, nextKey := testPair(t, now.Add(time.Hour), now.Add(2*time.Hour))
	good, goodKey := file("cert", cert), file("key", key)
	garbage := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")})
	for want, f := range map[string]TLSFiles{
		"CA: open " + dir + "/none: no such file":     {CA: dir + "/none"},
		"Cert: open " + dir + "/none: no such file":   {Cert: dir + "/none", Key: goodKey},
		"Key: open " + dir + "/none: no such file":    {Cert: good, Key: dir + "/none"},
		"Key is empty, but Cert":                      {Cert: good},
		"Cert is empty, but Key":                      {Key: goodKey},
		`/key" holds no PEM certificate`:              {CA: goodKey},
		`/text" holds no PEM certificate`:             {CA: file("text", []byte("hello"))},
		`/garbage" holds a certificate that cannot`:   {CA: file("garbage", garbage)},
		`CA "` + dir + `/old" has expired on 20`:      {CA: file("old", old)},
		`Cert "` + goodKey + `" holds no PEM cert`:    {Cert: goodKey, Key: goodKey},
		`Key "` + good + `" holds no PEM private`:     {Cert: good, Key: good},
		`is not the key of the certificate in Cert "`: {Cert: good, Key: file("oldkey", oldKey)},
		`Cert "` + dir + `/old" has expired on 20`:    {Cert: file("old", old), Key: file("oldkey", oldKey)},
		`Cert "` + dir + `/next" is valid only from`:  {Cert: file("next", next), Key: file("nextkey", nextKey)},
		`Key "` + dir + `/enc" is encrypted`: {Cert: good, Key: file("enc", pem.EncodeToMemory(
			&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))},
		`cannot be used: x509`: {Cert: file("garbage", garbage), Key: goodKey},
	} {
		_, err := f.Config()
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
		_, err = New(Config{Endpoints: []string{"h:1"}, TLSFiles: f})
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "Config.TLSFiles.") || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	// One of several authorities is enough.
	if _, err := (TLSFiles{CA: file("both", append(old, cert...))}).Config(); err != nil {
		t.Error(err)
	}
	for want, config := range map[string]Config{
		"Config.TLS.RootCAs are both set":    {TLSFiles: TLSFiles{CA: good}, TLS: &tls.Config{RootCAs: x509.NewCertPool()}},
		"a certificate in Config.TLS are":    {TLSFiles: TLSFiles{Cert: good, Key: goodKey}, TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}},
		"Config.TLS.ServerName are both set": {TLSFiles: TLSFiles{ServerName: "a"}, TLS: &tls.Config{ServerName: "b"}},
	} {
		config.Endpoints = []string{"h:1"}
		if _, err := New(config); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTLSFilesOverTLS(t *testing.T) {
	now := time.Now()
	cert, key := testPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	dir := t.TempDir()
	f := TLSFiles{
		CA: testFile(t, dir+"/ca", cert), Cert: testFile(t, dir+"/cert", cert), Key: testFile(t, dir+"/key", key), ServerName: "name",
	}
	config, err := f.Config()
	if err != nil {
		t.Fatal(err)
	}
	if config.MinVersion != tls.VersionTLS12 || config.RootCAs == nil || config.GetClientCertificate == nil || config.ServerName != "name" || config.InsecureSkipVerify {
		t.Errorf("%+v", config)
	}
	user := &tls.Config{MinVersion: tls.VersionTLS13}
	c := Config{TLS: user, TLSFiles: f}
	if _, err := c.useTLSFiles(); err != nil {
		t.Fatal(err)
	}
	if c.TLS.MinVersion != tls.VersionTLS13 || c.TLS.RootCAs == nil || user.RootCAs != nil {
		t.Errorf("%+v over %+v", c.TLS, user)
	}
	c = Config{Endpoints: []string{"host:1"}, TLSFiles: TLSFiles{ServerName: "name"}}
	if _, err := c.useTLSFiles(); err != nil {
		t.Fatal(err)
	}
	endpoints, err := c.validate()
	if err != nil || endpoints[0].Target.TLS == nil || endpoints[0].Target.TLS.ServerName != "name" {
		t.Errorf("%+v, %v", endpoints, err)
	}
	c = Config{}
	if files, err := c.useTLSFiles(); files != nil || err != nil || c.TLS != nil {
		t.Errorf("%v, %v: %v", files, err, c.TLS)
	}
}

// Files that are replaced are seen by the next connection, and those that make no
// sense meanwhile are not.
func TestTLSFilesReplaced(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	cert, key := testPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	f := TLSFiles{CA: testFile(t, dir+"/ca", cert), Cert: testFile(t, dir+"/cert", cert), Key: testFile(t, dir+"/key", key)}
	files, err := loadTLSFiles(f)
	if err != nil {
		t.Fatal(err)
	}
	config := files.over(nil)
	first := config.RootCAs
	shown := func() []byte {
		t.Helper()
		pair, err := files.clientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	}
	cert2, key2 := testPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	for _, half := range [][]byte{cert2, cert2[:100], nil, []byte("text")} {
		testFile(t, f.Cert, half)
		testFile(t, f.CA, half[:min(len(half), 100)])
		if string(shown()) != string(cert) {
			t.Errorf("the certificate of a pair that is half written (%d bytes) is shown", len(half))
		}
		if !files.fresh(config).RootCAs.Equal(first) {
			t.Errorf("the authorities of a file that is half written (%d bytes) are used", len(half))
		}
	}
	for _, gone := range []string{f.Cert, f.Key, f.CA} {
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		if string(shown()) != string(cert) || !files.fresh(config).RootCAs.Equal(first) {
			t.Errorf("without %s the former one is not used", gone)
		}
	}
	testFile(t, f.CA, cert2)
	testFile(t, f.Key, key2)
	testFile(t, f.Cert, cert2)
	if string(shown()) != string(cert2) {
		t.Error("the new certificate is not shown")
	}
	second := files.fresh(config).RootCAs
	if second.Equal(first) || !config.RootCAs.Equal(first) {
		t.Error("the new authorities are not used, or the configuration was changed")
	}

	// One that has expired is not shown, and the error says since when.
	pair := *files.pair.Load()
	leaf := *pair.Leaf
	leaf.NotAfter = now.Add(-time.Minute)
	pair.Leaf = &leaf
	files.pair.Store(&pair)
	old, oldKey := testPair(t, now.Add(-time.Hour), now.Add(-time.Minute))
	testFile(t, f.Key, oldKey)
	testFile(t, f.Cert, old)
	_, err = files.clientCertificate(nil)
	if !errors.Is(err, transport.ErrMisconfigured) || !strings.Contains(err.Error(), f.Cert+`" has expired on 20`) {
		t.Error(err)
	}
}
