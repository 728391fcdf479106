package main

import (
	"net"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/lua"
)

// What errors advise names the options of scripts, and not the fields of Go.
func TestAdvice(t *testing.T) {
	t.Parallel()
	ca, err := etcdtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }() // nobody accepts
	plain := etcdtest.Start(t).Endpoints()[0]
	secure := etcdtest.StartConfig(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CA: ca}).Endpoints()[0]
	mutual := etcdtest.StartConfig(t, etcdtest.Config{TLS: etcdtest.MutualTLS, CA: ca}).Endpoints()[0]
	small := func(c *etcd.Config) { c.MaxResponseBytes = 10_000 }
	for _, tt := range []struct {
		endpoint, call string
		configure      func(*etcd.Config)
		want           string
	}{
		{plain, `put {key = "k", value = ("x"):rep(20000)}`, nil, ""},
		{plain, `get {key = "k"}`, small, "; read less with limit or keys_only"},
		{plain, `txn {success = {{get = {key = "k"}}}}`, small, "; read less in the txn, with limit, keys_only or fewer operations"},
		{"https://" + strings.TrimPrefix(secure, "https://"), `get {key = "k"}`, nil, "; set ca to etcd's CA"},
		{"http://" + strings.TrimPrefix(secure, "https://"), `get {key = "k"}`, nil, "or set ca"},
		{mutual, `get {key = "k"}`, func(c *etcd.Config) { c.TLSFiles.CA = writeCA(t, ca) }, "(cert and key)"},
		{silent.Addr().String(), `get {key = "k"}`, nil, "timeout is 500ms"},
	} {
		timeout := "20"
		if tt.endpoint == silent.Addr().String() {
			timeout = "0.5"
		}
		var stdout, stderr strings.Builder
		err := lua.Run(t.Context(), lua.Script{
			Args: []string{tt.endpoint, timeout}, Configure: tt.configure, Stdout: &stdout, Stderr: &stderr,
			Source: `
local client = require "silly.store.etcd".newclient {endpoints = {arg[1]}, retry = 0, timeout = arg[2]}
local res, text = client:` + tt.call + `
print(text)
`,
		})
		got := stdout.String()
		if err != nil || !strings.Contains(got, tt.want) || strings.Contains(got, "Config") || strings.Contains(got, "Limit") || (tt.want == "") != (got == "nil\n") {
			t.Errorf("%s at %s: %v, printed %q, want %q", tt.call, tt.endpoint, err, got, tt.want)
		}
	}
}
