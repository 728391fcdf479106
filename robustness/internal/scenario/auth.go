package scenario

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/robustness/internal/history"
)

const (
	appUser     = "app"
	appPassword = "secret of app"
)

// authScenarios are the scenarios with expiring tokens.
var authScenarios = []Scenario{
	{
		Number: 29, Name: "tokens", About: "tokens expire after 2 s and with every role change; connections are reset; mixed calls, watches and leases", Quick: true,
		Judged: []string{"I1", "I2", "I3", "I4", "I5", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 15, Calls: 5_000, Events: 20_000, Leases: 10, Authentications: 15, Batches: 20},
		TokenTTL: 2 * time.Second,
		run: func(w *world) error {
			w.leases(10, ttls(2, 4))
			return underWatches(cycle{name: "tokens void", gap: 2 * time.Second, hold: 100 * time.Millisecond, inject: voidTokens})(w)
		},
	},
}

// tokens returns the value of etcd's flag auth-token for JWTs.
func (w *world) tokens(ttl time.Duration) (string, error) {
	dir, err := os.MkdirTemp("", "robustness-")
	if err != nil {
		return "", err
	}
	w.tokenDir = dir
	key := filepath.Join(dir, "key")
	return fmt.Sprintf("jwt,sign-method=HS256,priv-key=%s,ttl=%v", key, ttl), os.WriteFile(key, []byte(rand.Text()), 0o600)
}

// enableAuth turns authentication on and adds a user for the tested clients with
// access to all keys.
func (w *world) enableAuth() error {
	c, err := w.official(w.cluster.Endpoints()...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	w.rootPassword = rand.Text()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", w.rootPassword); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, "all"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "all", "\x00", "\x00", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserAdd(ctx, appUser, appPassword); return err },
		func() error { _, err := c.UserGrantRole(ctx, appUser, "all"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("turning authentication on: %w", err)
		}
	}
	return nil
}

// voidTokens changes an unused role, which invalidates all tokens, and every third
// time resets the connections, so that streams need a new token too.
func voidTokens(w *world, n int) (func() error, error) {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	var err error
	if name := fmt.Sprint("unused", n/2); n%2 == 0 {
		_, err = w.admin.RoleAdd(ctx, name)
	} else {
		_, err = w.admin.RoleDelete(ctx, name)
	}
	if n%3 == 0 {
		for _, p := range w.proxies {
			p.Reset()
		}
	}
	return func() error { return nil }, err
}
