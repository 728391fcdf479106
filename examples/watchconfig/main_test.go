package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/examples/internal/example"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := example.Run(t.Context(), &out, "", run); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "\n\n")
	const want = `Initial config, 3 items:
  host = localhost
  port = 8080
  timeout = 10s
Watching from revision 5 on...
  revision 5: timeout is now 30s
  revision 6: timeout is now 60s
  revision 7: timeout is gone
Final config, 2 items:
  host = localhost
  port = 8080
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The copy ends up right wherever the list falls among the operator's changes.
func TestListAmongChanges(t *testing.T) {
	s := etcdtest.Start(t)
	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	for i := range 50 {
		app := fmt.Sprintf("app%d/", i)
		if _, err := c.Put(ctx, etcd.PutRequest{Key: app + "timeout", Value: []byte("10s")}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, etcd.PutRequest{Key: app + "host", Value: []byte("localhost")}); err != nil {
			t.Fatal(err)
		}
		operator := make(chan error, 1)
		go func() { operator <- operate(ctx, c, app) }()

		// Reading the key a few times shifts the list among the changes.
		for range i % 5 {
			if _, err := c.Get(ctx, etcd.GetRequest{Key: app}); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := load(ctx, c, app)
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.follow(ctx, c, io.Discard); err != nil {
			t.Fatalf("round %d, listed at revision %d: %v", i, cfg.revision, err)
		}
		if err := <-operator; err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"host": "localhost"}; !maps.Equal(cfg.values, want) {
			t.Fatalf("round %d: the copy is %v, want %v", i, cfg.values, want)
		}
	}
}
