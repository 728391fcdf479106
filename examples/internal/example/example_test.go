package example

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// A user's etcd keeps its own keys and history, and none of the example's keys.
func TestUsersEtcd(t *testing.T) {
	s := etcdtest.Start(t)
	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "mine"}); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	failed := errors.New("failed on purpose")
	err = Run(ctx, io.Discard, s.Endpoints()[0], func(ctx context.Context, _ io.Writer, e *Etcd) error {
		if e.Own {
			t.Error("the user's etcd is called the example's own")
		}
		if _, err := c.Put(ctx, etcd.PutRequest{Key: e.Prefix + "left over"}); err != nil {
			t.Error(err)
		}
		cancel()
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error %v, want the example's", err)
	}
	got, err := c.Get(t.Context(), etcd.GetRequest{Prefix: true, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.KVs) != 1 || got.KVs[0].Key != "mine" {
		t.Errorf("the server has %v, want only the key mine", got.KVs)
	}
}

func TestOwnEtcd(t *testing.T) {
	err := Run(t.Context(), io.Discard, "", func(ctx context.Context, _ io.Writer, e *Etcd) error {
		if !e.Own || e.Prefix != "" {
			t.Errorf("got %+v, want the example's own etcd, without a prefix", e)
		}
		c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Put(ctx, etcd.PutRequest{Key: "key"})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNoEtcd(t *testing.T) {
	s, err := etcdtest.New(etcdtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = Run(ctx, io.Discard, s.Addr(), func(context.Context, io.Writer, *Etcd) error {
		t.Error("the example ran without a server")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("error %v, want one that names %s", err, s.Addr())
	}
}
