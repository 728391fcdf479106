package main

import (
	"context"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

func TestOwnServer(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"get color                     red, version 1",
		"of 3",
		"fruit/banana",
		"no, alice has it",
		"ErrCompacted",
		"color now                     blue",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
}

// A user's server is left as it was: its keys and its history.
func TestUsersServer(t *testing.T) {
	s := etcdtest.Start(t)
	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	before, err := c.Put(t.Context(), etcd.PutRequest{Key: "mine", Value: []byte("kept")})
	if err != nil {
		t.Fatal(err)
	}

	var out strings.Builder
	if err := run(t.Context(), &out, s.Endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	onlyMine(t, c)
	if _, err := c.Get(t.Context(), etcd.GetRequest{Key: "mine", Revision: before.Header.Revision}); err != nil {
		t.Errorf("the history is gone: %v", err)
	}
	if !strings.Contains(out.String(), "left out") {
		t.Errorf("the output doesn't say that it compacts nothing:\n%s", out.String())
	}

	// Interrupted at the first request after the connection is up.
	ctx, cancel := context.WithCancel(t.Context())
	if err := run(ctx, cancelAt{cancel, "Put and get"}, s.Endpoints()[0]); err == nil {
		t.Error("the interrupted tour succeeded")
	}
	if err := run(ctx, &out, s.Endpoints()[0]); err == nil {
		t.Error("a tour with an ended context succeeded")
	}
	onlyMine(t, c)
}

func TestNoServer(t *testing.T) {
	s, err := etcdtest.New(etcdtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = run(t.Context(), &out, s.Addr())
	if err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("error %v, want one that names %s", err, s.Addr())
	}
}

func onlyMine(t *testing.T, c *etcd.Client) {
	t.Helper()
	got, err := c.Get(t.Context(), etcd.GetRequest{Prefix: true, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.KVs) != 1 || got.KVs[0].Key != "mine" {
		t.Errorf("the server has %v, want only the key mine", got.KVs)
	}
}

// cancelAt calls cancel when text is written.
type cancelAt struct {
	cancel context.CancelFunc
	text   string
}

func (c cancelAt) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.text) {
		c.cancel()
	}
	return len(b), nil
}
