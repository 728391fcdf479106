package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"time"

	"silly.store/etcd/internal/balance"
)

// Config is what a [Client] is made of. Only Endpoints is required. [New]
// copies it.
type Config struct {
	// Endpoints are the client URLs of the cluster's members: host:port,
	// http://host:port, https://host:port, unix:///path or unixs:///path.
	// A host:port means TLS when TLS is set and plain text when it is not.
	Endpoints []string

	// TLS configures https and unixs endpoints. nil means the system's
	// certificate authorities, and plain text for endpoints without a scheme.
	// Versions below 1.2 are not offered unless MinVersion says so. An empty
	// ServerName means the endpoint's host.
	TLS *tls.Config

	// Retry is how often a failed request is tried again, after the first
	// attempt. 0 means 5; negative means never. A request that a
	// connection did not take goes to another, and an election is waited for,
	// inside one attempt: neither is counted.
	Retry int

	// RetrySleep is the pause before a request is tried again; each is up to
	// 20 % longer or shorter. 0 means 1 s.
	RetrySleep time.Duration

	// Timeout bounds one attempt of a request that has a single answer. A
	// context with a deadline replaces it. 0 means 10 s; negative means no
	// bound. Range iterators and physical compactions are not bounded by it.
	Timeout time.Duration

	// RetryWrites says when a failed write is tried again. The zero value,
	// SafeOnly, never applies a write twice.
	RetryWrites RetryWrites

	// MaxResponseBytes is the size of the largest message that is accepted from
	// a server; a larger one ends its request with ErrResponseTooLarge.
	// 0 means 2 GiB - 1, which is also the most.
	MaxResponseBytes int

	// DialContext, when not nil, makes the connections in place of a
	// net.Dialer: network is "tcp" or "unix". TLS runs over what it returns.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// RetryWrites says when writes are tried again.
type RetryWrites uint8

const (
	// SafeOnly retries a write only when the failed attempt was certainly not
	// applied: it was never sent, or the server rejected it for a passing reason.
	SafeOnly RetryWrites = iota
	// AtLeastOnce retries writes like reads. A write may then be applied more
	// than once, with other clients' writes in between.
	AtLeastOnce
)

const (
	defaultRetry      = 5
	defaultRetrySleep = time.Second
	defaultTimeout    = 10 * time.Second
)

// validate checks every field and parses the endpoints.
func (c *Config) validate() ([]balance.Endpoint, error) {
	endpoints, err := parseEndpoints("Config.Endpoints", c.Endpoints, c.TLS)
	if err != nil {
		return nil, err
	}
	switch {
	case c.RetrySleep < 0:
		return nil, fmt.Errorf("Config.RetrySleep is negative: %v", c.RetrySleep)
	case c.RetryWrites > AtLeastOnce:
		return nil, fmt.Errorf("Config.RetryWrites is %d; use SafeOnly or AtLeastOnce", c.RetryWrites)
	case c.MaxResponseBytes < 0 || c.MaxResponseBytes > math.MaxInt32:
		return nil, fmt.Errorf("Config.MaxResponseBytes is %d; it must be in 0-%d", c.MaxResponseBytes, math.MaxInt32)
	}
	return endpoints, nil
}

// retries is how often an attempt may follow the first.
func (c *Config) retries() int {
	if c.Retry == 0 {
		return defaultRetry
	}
	return max(c.Retry, 0)
}

func (c *Config) retrySleep() time.Duration {
	if c.RetrySleep == 0 {
		return defaultRetrySleep
	}
	return c.RetrySleep
}

// timeout bounds an attempt; 0 means not at all.
func (c *Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return defaultTimeout
	}
	return max(c.Timeout, 0)
}
