package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What the fields' comments say of zero and of negative values.
func TestConfigZeros(t *testing.T) {
	var zero Config
	if got := zero.retries(); got != 5 {
		t.Errorf("Retry 0 means %d", got)
	}
	if got := zero.retrySleep(); got != time.Second {
		t.Errorf("RetrySleep 0 means %v", got)
	}
	if got := zero.timeout(); got != 10*time.Second {
		t.Errorf("Timeout 0 means %v", got)
	}
	negative := Config{Retry: -3, Timeout: -time.Second}
	if got := negative.retries(); got != 0 {
		t.Errorf("a negative Retry means %d", got)
	}
	if got := negative.timeout(); got != 0 {
		t.Errorf("a negative Timeout means %v, want no bound", got)
	}
	set := Config{Retry: 2, RetrySleep: time.Minute, Timeout: time.Hour}
	if set.retries() != 2 || set.retrySleep() != time.Minute || set.timeout() != time.Hour {
		t.Errorf("%d, %v, %v of %+v", set.retries(), set.retrySleep(), set.timeout(), set)
	}
	if SafeOnly != zero.RetryWrites {
		t.Error("the zero RetryWrites is not SafeOnly")
	}
}

func TestConfigIsCopied(t *testing.T) {
	config := Config{Endpoints: []string{"localhost:2379"}, TLS: &tls.Config{ServerName: "a"}}
	endpoints, err := config.validate()
	if err != nil {
		t.Fatal(err)
	}
	config.Endpoints[0], config.TLS.ServerName = "changed", "b"
	if e := endpoints[0]; e.Name != "localhost:2379" || e.Target.Address != "localhost:2379" || e.Target.TLS.ServerName != "a" {
		t.Errorf("the endpoint followed its configuration: %+v", e)
	}
}

func TestConfigTLS(t *testing.T) {
	given := &tls.Config{}
	for endpoint, want := range map[string]struct {
		network, address, name string // name of the server; empty: no TLS
		config                 *tls.Config
	}{
		"host:1":            {"tcp", "host:1", "host", given},
		"https://host:1":    {"tcp", "host:1", "host", given},
		"https://[::1]:1":   {"tcp", "[::1]:1", "::1", given},
		"unixs:///a/b":      {"unix", "/a/b", "localhost", given},
		"http://host:1":     {"tcp", "host:1", "", nil},
		"unix:///a/b":       {"unix", "/a/b", "", nil},
		"https://host:0443": {"tcp", "host:0443", "host", nil},
	} {
		endpoints, err := (&Config{Endpoints: []string{endpoint}, TLS: want.config}).validate()
		if err != nil {
			t.Errorf("%s: %v", endpoint, err)
			continue
		}
		got := endpoints[0].Target
		if got.Network != want.network || got.Address != want.address || (got.TLS != nil) != (want.name != "") {
			t.Errorf("%s: %+v", endpoint, got)
		}
		if got.TLS != nil && (got.TLS.ServerName != want.name || got.TLS == given) {
			t.Errorf("%s: the server's name is %q", endpoint, got.TLS.ServerName)
		}
	}
}

func TestConfigLimits(t *testing.T) {
	one := []string{"localhost:2379"}
	tooLarge := int64(math.MaxInt32) + 1 // as an int of 32 bits it is negative
	for _, config := range []Config{
		{Endpoints: one, RetrySleep: -1},
		{Endpoints: one, DialTimeout: -1},
		{Endpoints: one, RetryWrites: AtLeastOnce + 1},
		{Endpoints: one, Coalesce: CoalesceOff + 1},
		{Endpoints: one, MaxResponseBytes: -1},
		{Endpoints: one, MaxResponseBytes: int(tooLarge)},
	} {
		if _, err := config.validate(); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
	if _, err := (&Config{Endpoints: one, MaxResponseBytes: math.MaxInt32}).validate(); err != nil {
		t.Error(err)
	}
}

func TestPreferIsChecked(t *testing.T) {
	_, err := New(Config{Endpoints: []string{"a:1"}, Prefer: 3})
	if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "Config.Prefer is 3") {
		t.Errorf("error %v", err)
	}
}

// What Timeout and HedgeReads mean for the requests of a client.
func TestConfigOfRequests(t *testing.T) {
	get := func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err }
	compact := func(ctx context.Context, c *Client) error {
		_, err := c.Compact(ctx, CompactRequest{Revision: 1, Physical: true})
		return err
	}
	for name, test := range map[string]struct {
		config         Config
		call           func(context.Context, *Client) error
		timeout, hedge time.Duration
	}{
		"default":             {Config{}, get, 10 * time.Second, 0},
		"no bound":            {Config{Timeout: -1}, get, 0, 0},
		"physical compaction": {Config{}, compact, 0, 0},
		"early hedges":        {Config{HedgeReads: time.Second}, get, 10 * time.Second, time.Second},
		"no hedges":           {Config{HedgeReads: -1}, get, 10 * time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, m := scriptedBy(t, test.config, ok.Delayed(time.Second/2))
			if err := test.call(t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := m.Calls()[0]; got.Timeout != test.timeout || got.LateAfter != test.hedge {
				t.Errorf("%s: bounded by %v and hedged after %v", name, got.Timeout, got.LateAfter)
			}
		})
	}
	// The end of the default Timeout.
	synctest.Test(t, func(t *testing.T) {
		c, _ := scriptedBy(t, Config{Retry: -1}, silence)
		begin := time.Now()
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		if took := time.Since(begin); took != 10*time.Second || !errors.Is(err, ErrTimeout) || !MaybeApplied(err) {
			t.Errorf("%v after %v", err, took)
		}
	})
}
