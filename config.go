package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"silly.store/etcd/internal/balance"
)

// Config is what a [Client] is made of. Only Endpoints, or DiscoverySRV in its
// place, is required. [New] copies it.
type Config struct {
	// Endpoints are the client URLs of the cluster's members: host:port,
	// http://host:port, https://host:port, unix:///path or unixs:///path.
	// A host:port means TLS when TLS or TLSFiles is set, else plain text.
	Endpoints []string

	// DiscoverySRV is a domain whose SRV records name the members, in place of
	// Endpoints: _etcd-client-ssl._tcp.DOMAIN for TLS and _etcd-client._tcp.DOMAIN
	// for plain text. Where there are records for TLS, or TLS is set, those for
	// plain text are not used. DNS is asked when a connection is first needed,
	// whenever no member can be reached, and by Sync.
	//
	// Certificates are verified for the host that a record names. Who does not
	// trust DNS that far sets TLS.ServerName to a name that all of them have.
	DiscoverySRV string

	// DiscoverySRVName, when not empty, is added to the name of the service, for
	// several clusters in one domain: _etcd-client-NAME._tcp.DOMAIN.
	DiscoverySRVName string

	// Resolver asks DNS for DiscoverySRV. nil means net.DefaultResolver. The
	// addresses of hosts are looked up when connecting, by Go's net.Dialer or by
	// DialContext.
	Resolver *net.Resolver

	// Prefer says which member calls go to, while that one is fit; else they go
	// to any other at once. Watches and large reads are spread in any case. The
	// zero value, PreferAny, spreads calls too. The others ask the members who
	// they are every 5 s while calls are made.
	Prefer Prefer

	// SyncInterval, when positive, is how often [Client.Sync] runs by itself,
	// about a tenth more or less, the first time after one interval. What fails
	// is logged and tried again at the next one. 0 means never.
	SyncInterval time.Duration

	// TLS configures https and unixs endpoints. nil means the system's
	// certificate authorities, and plain text for endpoints without a scheme.
	// Versions below 1.2 are not offered unless MinVersion says so. An empty
	// ServerName means the endpoint's host.
	TLS *tls.Config

	// TLSFiles are files to configure TLS from, beside what TLS says or in place
	// of it: with them a host:port means TLS. They are read anew for each
	// connection, so that certificates can be replaced under a running client;
	// files that make no sense, as when only one of two has been replaced, leave
	// the former ones in use. The zero value means none.
	TLSFiles TLSFiles

	// Username and Password are those of a user of etcd's, for clusters with
	// authentication. Set both or neither. While authentication is off in the
	// cluster they are not used. A user that the TLS client certificate names
	// needs neither.
	Username string
	Password string

	// Credentials, when not nil, is asked for the user's name and password, or
	// for a token (a JWT), in place of Username and Password: for passwords that
	// change and tokens that expire. It is called when they are first needed and
	// whenever the server no longer accepts what it has returned, by one
	// goroutine at a time, for which calls wait. Its context ends after Timeout
	// (10 s if there is none) and with Close, which waits for it. What it returns
	// is not logged. After an error it is called again some 0.2 s to 5 s later;
	// calls meanwhile fail with ErrNoCredentials and that error. Watches and leases
	// that need a new token to go on wait for it meanwhile; with a Username and
	// Password that the server no longer accepts a watch ends, with ErrAuthFailed.
	Credentials func(ctx context.Context) (Credentials, error)

	// Retry is how often a failed request is tried again, after the first
	// attempt. 0 means 5; negative means never. Inside one attempt, and not
	// counted, a request that a member did not take or refused for a passing
	// reason goes to another one, as does a read whose connection was lost, about
	// once for each member; and an election is waited for.
	Retry int

	// RetrySleep is the pause before a request is tried again; each is up to
	// 20 % longer or shorter. 0 means 1 s.
	RetrySleep time.Duration

	// Timeout bounds one attempt of a request that has a single answer. A
	// context with a deadline replaces it. 0 means 10 s; negative means no
	// bound. Range iterators and physical compactions are not bounded by it.
	Timeout time.Duration

	// HedgeReads is how long a read waits for one member before it is sent to
	// another one as well; the first answer counts. 0 means only when something is
	// wrong: after about one and a half seconds, or when the member has fallen
	// silent, and as long as another one is better. A shorter time, like the 99th
	// percentile of your reads, cuts off slow answers at the price of up to a tenth
	// more reads. Negative means that no read is hedged.
	HedgeReads time.Duration

	// DialTimeout bounds one attempt to connect to one endpoint, handshakes
	// included. 0 means 5 s.
	DialTimeout time.Duration

	// RetryWrites says when a failed write is tried again. The zero value,
	// SafeOnly, never applies a write twice.
	RetryWrites RetryWrites

	// Coalesce says which concurrent calls may share requests. The zero value,
	// CoalesceReads, lets Gets of single keys share, which nobody notices but by
	// their speed. CoalesceAll lets writes share too.
	Coalesce Coalesce

	// MaxResponseBytes is the size of the largest message that is accepted from
	// a server; a larger one ends its request with ErrResponseTooLarge.
	// 0 means 2 GiB - 1, which is also the most.
	MaxResponseBytes int

	// Logger is told of connections that come and go, of requests that are tried
	// again and of leases that are lost; at debug level also of attempts that
	// fail. Keys, values, passwords and tokens are never logged. nil: silent.
	Logger *slog.Logger

	// Hooks are called when something happens inside the client.
	Hooks Hooks

	// DialContext, when not nil, makes the connections in place of a net.Dialer,
	// for proxies and tunnels: network is "tcp" and address host:port, the host
	// not looked up, or "unix" and a path, as in the endpoint. That holds for
	// every endpoint: given, set by SetEndpoints, discovered or learned by Sync.
	// TLS, for the endpoint's host, runs over what it returns. Its context ends
	// when connecting takes too long, and with Close. Many calls may run at once.
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
	endpoints, err := c.checkEndpoints()
	if err != nil {
		return nil, err
	}
	if err := c.checkCredentials(); err != nil {
		return nil, err
	}
	switch {
	case c.Prefer > PreferLeader:
		return nil, fmt.Errorf("Config.Prefer is %d; use PreferAny, PreferNearest or PreferLeader", c.Prefer)
	case c.SyncInterval < 0:
		return nil, fmt.Errorf("Config.SyncInterval is negative: %v", c.SyncInterval)
	case c.RetrySleep < 0:
		return nil, fmt.Errorf("Config.RetrySleep is negative: %v", c.RetrySleep)
	case c.DialTimeout < 0:
		return nil, fmt.Errorf("Config.DialTimeout is negative: %v", c.DialTimeout)
	case c.RetryWrites > AtLeastOnce:
		return nil, fmt.Errorf("Config.RetryWrites is %d; use SafeOnly or AtLeastOnce", c.RetryWrites)
	case c.Coalesce > CoalesceOff:
		return nil, fmt.Errorf("Config.Coalesce is %d; use CoalesceReads, CoalesceAll or CoalesceOff", c.Coalesce)
	case c.MaxResponseBytes < 0 || c.MaxResponseBytes > math.MaxInt32:
		return nil, fmt.Errorf("Config.MaxResponseBytes is %d; it must be in 0-%d", c.MaxResponseBytes, math.MaxInt32)
	}
	return endpoints, nil
}

func (c *Config) checkCredentials() error {
	if c.Username == "" && c.Password == "" {
		return nil
	}
	if c.Credentials != nil {
		return errors.New("Config.Credentials is set, and so is Config.Username or Config.Password; use one or the other")
	}
	if err := checkUser(c.Username, c.Password); err != nil {
		return within("Config", err)
	}
	return nil
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
