package main

import (
	"context"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/examples/internal/example"
)

func TestOwnServer(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := example.Run(t.Context(), &out, "", run); err != nil {
		t.Fatal(err)
	}
	rest := out.String()
	for _, want := range []string{
		"get color                     red, version 1",
		"of 3",
		"fruit/banana",
		"no, alice has it",
		"session/left alone is gone",
		"session/kept is still there",
		"session/kept is gone",
		"connections break",
		"news/three                  PUT",
		"news/four                   PUT",
		"news/one                    DELETE",
		"nothing is missing",
		"b registers                   new: service/b at 10.0.0.2:8080",
		"a stops, revoking its lease   gone after",
		"b crashes                     gone after",
		"ErrCompacted",
		"color now                     blue",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
}

// The tour leaves the keys and the history of a user's server as they were.
func TestUsersServer(t *testing.T) {
	t.Parallel()
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
	if err := example.Run(t.Context(), &out, s.Endpoints()[0], run); err != nil {
		t.Fatal(err)
	}
	onlyMine(t, c)
	if _, err := c.Get(t.Context(), etcd.GetRequest{Key: "mine", Revision: before.Header.Revision}); err != nil {
		t.Errorf("the history is gone: %v", err)
	}
	if !strings.Contains(out.String(), "left out") {
		t.Errorf("the output doesn't say that it compacts nothing:\n%s", out.String())
	}

	// Interrupt it while a watch is cut off and leases live.
	ctx, cancel := context.WithCancel(t.Context())
	if err := example.Run(ctx, cancelAt{cancel, "pull the cable"}, s.Endpoints()[0], run); err == nil {
		t.Error("the interrupted tour succeeded")
	}
	if err := example.Run(ctx, &out, s.Endpoints()[0], run); err == nil {
		t.Error("a tour with an ended context succeeded")
	}
	onlyMine(t, c)
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

// cancelAt calls cancel once text is written.
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
