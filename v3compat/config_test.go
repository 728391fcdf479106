package v3compat

import (
	"crypto/tls"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

func TestConfigBecomesOurs(t *testing.T) {
	tlsConfig := new(tls.Config)
	own, _, err := ownConfig(&clientv3.Config{
		Endpoints: []string{"a:1", "b:2"}, AutoSyncInterval: time.Minute, DialTimeout: 3 * time.Second,
		MaxCallRecvMsgSize: 1 << 20, TLS: tlsConfig, Username: "u", Password: "p",
		MaxUnaryRetries: 7, BackoffWaitBetween: time.Second,
	})
	want := etcd.Config{
		Endpoints: []string{"a:1", "b:2"}, SyncInterval: time.Minute, DialTimeout: 3 * time.Second,
		MaxResponseBytes: 1 << 20, TLS: tlsConfig, Username: "u", Password: "p",
		Retry: 7, RetrySleep: time.Second, Timeout: -1,
	}
	if err != nil || !reflect.DeepEqual(own, want) {
		t.Errorf("got %+v, %v", own, err)
	}
	own, _, err = ownConfig(&clientv3.Config{Endpoints: []string{"a:1"}})
	if err != nil || own.Retry != 100 || own.RetrySleep != 25*time.Millisecond {
		t.Errorf("got %+v, %v", own, err)
	}
	own, _, err = ownConfig(&clientv3.Config{Endpoints: []string{"a:1"}, Token: "jwt"})
	if err != nil || own.Credentials == nil {
		t.Fatalf("got %+v, %v", own, err)
	}
	if c, err := own.Credentials(t.Context()); err != nil || c != (etcd.Credentials{Token: "jwt"}) {
		t.Errorf("credentials %+v, %v", c, err)
	}
}

// Code that runs on client/v3 may have durations that etcd.Config refuses.
func TestConfigShortDurations(t *testing.T) {
	client, err := New(clientv3.Config{Endpoints: []string{"a:1"}, AutoSyncInterval: 1, DialTimeout: 1, BackoffWaitBetween: 1})
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
}

func TestConfigRefused(t *testing.T) {
	ok := clientv3.Config{Endpoints: []string{"a:1"}}
	with := func(change func(*clientv3.Config)) clientv3.Config {
		c := ok
		change(&c)
		return c
	}
	for text, config := range map[string]clientv3.Config{
		"no available endpoints":             {},
		"mutually exclusive":                 with(func(c *clientv3.Config) { c.Token, c.Username = "t", "u" }),
		"Config.BackoffWaitBetween":          with(func(c *clientv3.Config) { c.BackoffWaitBetween = -1 }),
		"clientv3.Config.AutoSyncInterval":   with(func(c *clientv3.Config) { c.AutoSyncInterval = -1 }),
		"clientv3.Config.DialTimeout":        with(func(c *clientv3.Config) { c.DialTimeout = -1 }),
		"clientv3.Config.MaxCallRecvMsgSize": with(func(c *clientv3.Config) { c.MaxCallRecvMsgSize = -1 }),
		"Password is empty":                  with(func(c *clientv3.Config) { c.Username = "u" }),
		"must be greater than send":          with(func(c *clientv3.Config) { c.MaxCallSendMsgSize, c.MaxCallRecvMsgSize = 2, 1 }),
		"Config.Endpoints[1]":                with(func(c *clientv3.Config) { c.Endpoints = []string{"a:1", "ftp://a:1"} }),
	} {
		client, err := New(config)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in the error %v", text, err)
		}
		if err == nil {
			_ = client.Close()
		}
	}
	if _, err := New(clientv3.Config{}); !errors.Is(err, clientv3.ErrNoAvailableEndpoints) {
		t.Errorf("without endpoints: %v", err)
	}
}

// Every field is ours, refused, or has a line in withoutEffect: a new one of a
// newer client/v3 fails here.
func TestConfigFieldsAreAllKnown(t *testing.T) {
	known := map[string]bool{}
	for _, name := range []string{
		"Endpoints", "AutoSyncInterval", "DialTimeout", "MaxCallRecvMsgSize", "TLS", "Username", "Password", "Token",
		"MaxUnaryRetries", "BackoffWaitBetween", "RejectOldCluster", "Context", "Logger", "LogConfig",
		"DialOptions", // its interceptors have an effect
	} {
		known[name] = true
	}
	all := clientv3.Config{
		DialKeepAliveTime: 1, DialKeepAliveTimeout: 1, PermitWithoutStream: true, MaxCallSendMsgSize: 1, BackoffJitterFraction: 1,
	}
	for _, name := range withoutEffect(&all) {
		known[name] = true
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[clientv3.Config]()) {
		if !known[f.Name] {
			t.Errorf("nothing is said of clientv3.Config.%s", f.Name)
		}
	}
}
