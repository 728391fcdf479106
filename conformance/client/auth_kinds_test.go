package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// issuer makes the JWTs of a cluster.
type issuer struct {
	key     *ecdsa.PrivateKey
	private string // the files of the key's halves
	public  string
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: private, private: filepath.Join(t.TempDir(), "private"), public: filepath.Join(t.TempDir(), "public")}
	der, err1 := x509.MarshalPKCS8PrivateKey(private)
	err2 := os.WriteFile(i.private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	der, err3 := x509.MarshalPKIXPublicKey(private.Public())
	err4 := os.WriteFile(i.public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return i
}

// sign makes a token for a user, with a revision of the users and roles.
func (i *issuer) sign(t testing.TB, user string, revision uint64, ttl time.Duration) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." +
		part(map[string]any{"username": user, "revision": revision, "exp": time.Now().Add(ttl).Unix()})
	digest := sha256.Sum256([]byte(text))
	a, b, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Error(err)
		return ""
	}
	signature := append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// JWTs from the server become invalid when they expire, and with every change of
// users and roles.
func TestAuthJWT(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	i := newIssuer(t)
	s := quickAuth(t, etcdtest.Config{AuthToken: fmt.Sprintf("jwt,sign-method=ES256,priv-key=%s,ttl=%v", i.private, ttl)})
	root := authOn(t, s)
	addUser(t, root, "u", "p", "u/")
	c := asUser(t, s, "u", "p")
	w := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	l := granted(t, c, 3*time.Second)
	attach(t, c, "u/leased", l.ID)
	read(t, w)
	step := func(name string) {
		t.Helper()
		put(t, c, "u/k", name)
		if ev := read(t, w).Events[0]; string(ev.KV.Value) != name {
			t.Errorf("event %v, want %s", ev, name)
		}
		read(t, watch(t, c, etcd.WatchRequest{Key: "u/k", Revision: 1}))
		alive(t, l)
	}
	before, began := authentications(t, s), time.Now()
	for range 3 {
		must(t)(root.Auth().RoleAdd(t.Context(), etcd.RoleAddRequest{Name: "r"}))
		step("changed")
		must(t)(root.Auth().RoleDelete(t.Context(), etcd.RoleDeleteRequest{Name: "r"}))
	}
	// Root needs none: for changes the server does not check the revision. The user
	// needs a new one after each change, or one after two changes. On a slow machine the tokens of
	// both also expire.
	expired := 2 * int(time.Since(began)/ttl)
	if n := authentications(t, s) - before; n < 3 || n > 6+expired {
		t.Errorf("%d Authenticate calls, want 3 to 6, and %d more", n, expired)
	}
	time.Sleep(ttl + 100*time.Millisecond)
	step("expired")
}

// A server with only the public key checks tokens that others issue. The client
// does not keep offering a token that it has rejected.
func TestAuthOwnTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := quickAuth(t, etcdtest.Config{AuthToken: "jwt,sign-method=ES256,pub-key=" + i.public})
	admin := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	addUser(t, admin, "u", "p", "u/")
	must(t)(admin.Auth().UserAdd(t.Context(), etcd.UserAddRequest{Name: "root", Password: rootPassword}))
	must(t)(admin.Auth().UserGrantRole(t.Context(), etcd.UserGrantRoleRequest{User: "root", Role: "root"}))
	status, err := admin.Auth().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	must(t)(admin.Auth().Enable(t.Context()))

	var asked atomic.Int64
	var ttl atomic.Int64
	ttl.Store(int64(time.Hour))
	with := func(user string) *etcd.Client {
		return connect(t, etcd.Config{Endpoints: s.Endpoints(), Credentials: func(context.Context) (etcd.Credentials, error) {
			asked.Add(1)
			return etcd.Credentials{Token: i.sign(t, user, status.AuthRevision, time.Duration(ttl.Load()))}, nil
		}})
	}
	c := with("u")
	w := watch(t, c, etcd.WatchRequest{Key: "u/k"})
	put(t, c, "u/k", "v")
	read(t, w)
	if n := asked.Load(); n != 1 {
		t.Errorf("the callback was asked %d times, want once", n)
	}
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"}); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("error %v", err)
	}

	ttl.Store(-int64(time.Hour))
	expired, before := with("u"), asked.Load()
	for range 100 {
		if _, err := expired.Get(t.Context(), etcd.GetRequest{Key: "u/k"}); !errors.Is(err, etcd.ErrInvalidAuthToken) {
			t.Errorf("error %v", err)
		}
	}
	if n := asked.Load() - before; n > 10 {
		t.Errorf("the callback was asked %d times", n)
	}
	// This server can't make tokens for passwords.
	if _, err := asUser(t, s, "u", "p").Get(t.Context(), etcd.GetRequest{Key: "u/k"}); !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("error %v", err)
	}
}

// The common name of a client certificate names a user without a password. A user
// name and password, and thus a token, take precedence.
func TestAuthCertificates(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]etcdtest.Config{
		"net/http": {TLS: etcdtest.MutualTLS},
		"grpc-go":  {TLS: etcdtest.MutualTLS, GRPCOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := quickAuth(t, config)
			as := func(name string) *tls.Config {
				cert, err := s.CA().ClientCert(name)
				if err != nil {
					t.Fatal(err)
				}
				c := s.ClientTLS()
				c.Certificates = []tls.Certificate{cert}
				return c
			}
			both := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLS: as("alice"), Username: "root", Password: rootPassword})
			put(t, both, "k", "v") // authentication is off
			addUser(t, both, "alice", "", "alice/")
			addUser(t, both, "root", rootPassword, "root/")
			must(t)(both.Auth().UserGrantRole(t.Context(), etcd.UserGrantRoleRequest{User: "root", Role: "root"}))
			must(t)(both.Auth().Enable(t.Context()))

			alice := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLS: as("alice")})
			put(t, alice, "alice/k", "v")
			w := watch(t, alice, etcd.WatchRequest{Key: "alice/", Prefix: true})
			l := granted(t, alice, 3*time.Second)
			attach(t, alice, "alice/leased", l.ID)
			read(t, w)
			if _, err := alice.Put(t.Context(), etcd.PutRequest{Key: "k"}); !errors.Is(err, etcd.ErrPermissionDenied) {
				t.Errorf("alice may write k: %v", err)
			}
			put(t, both, "k", "root's") // as root, though the certificate is alice's
			must(t)(both.Auth().RoleAdd(t.Context(), etcd.RoleAddRequest{Name: "r"}))
			put(t, alice, "alice/k", "v2")
			if ev := read(t, w).Events[0]; string(ev.KV.Value) != "v2" {
				t.Errorf("event %v", ev)
			}
			alive(t, l)

			nobody := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLS: as("nobody")})
			if _, err := nobody.Put(t.Context(), etcd.PutRequest{Key: "alice/k"}); !errors.Is(err, etcd.ErrPermissionDenied) {
				t.Errorf("nobody may write: %v", err)
			}
		})
	}
}

// All connections to all members share one token. A restarted member, which no
// longer knows it, costs one more.
func TestAuthCluster(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	members := cluster.Members()
	root := authOn(t, members[0])
	addUser(t, root, "u", "p", "u/")
	total := func() (n int) {
		for _, m := range members {
			n += authentications(t, m)
		}
		return n
	}
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Username: "u", Password: "p"})
	before := total()
	for range 30 {
		put(t, c, "u/k", "v")
		watch(t, c, etcd.WatchRequest{Key: "u/k"})
	}
	if n := total() - before; n != 1 {
		t.Errorf("%d Authenticate calls, want 1", n)
	}
	if err := members[1].Restart(); err != nil {
		t.Fatal(err)
	}
	before = total()
	for range 60 {
		put(t, c, "u/k", "v")
	}
	if n := total() - before; n > 1 {
		t.Errorf("%d Authenticate calls after the restart, want at most 1", n)
	}
}
