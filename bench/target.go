package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"silly.store/etcd/etcdtest"
)

// target is where a client connects, and as which user. A job carries it to the client's
// process.
type target struct {
	Endpoints []string

	CA        []byte // PEM; nil without TLS
	Cert, Key []byte // PEM of a client certificate; nil without

	User, Password string

	// CountDials notes every connection in dials.
	CountDials bool
}

// tls is the configuration of a client; nil without TLS.
func (t target) tls() (*tls.Config, error) {
	if t.CA == nil {
		return nil, nil
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(t.CA) {
		return nil, errors.New("the CA's certificate is not PEM")
	}
	if t.Cert != nil {
		cert, err := tls.X509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// targetOf is where clients of s connect: with a certificate if s asks for one.
func targetOf(endpoints []string, ca *etcdtest.CA, mode etcdtest.TLSMode) (t target, err error) {
	t.Endpoints = endpoints
	if ca == nil {
		return t, nil
	}
	t.CA = ca.PEM()
	if mode == etcdtest.MutualTLS {
		t.Cert, t.Key, err = ca.ClientPEM("bench", time.Now().Add(24*time.Hour))
	}
	return t, err
}

// requirePasswords turns authentication on, and has clients of t name the user root. It
// keeps no other user, so that no row measures permissions.
func (t *target) requirePasswords(ctx context.Context) (err error) {
	const root, password = "root", "bench"
	config, err := t.tls()
	if err != nil {
		return err
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: t.Endpoints, TLS: config, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.UserAdd(ctx, root, password); err != nil {
		return err
	}
	if _, err := c.RoleAdd(ctx, root); err != nil {
		return err
	}
	if _, err := c.UserGrantRole(ctx, root, root); err != nil {
		return err
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		return err
	}
	t.User, t.Password = root, password
	return nil
}
