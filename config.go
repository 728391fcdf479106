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
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/duration"
)

// Config configures a [Client]. Only Endpoints, or DiscoverySRV in its place, is
// required. [New] copies it.
//
// A positive duration below a millisecond is refused: most likely its unit is missing,
// as in Timeout: 5, which is five nanoseconds.
type Config struct {
	// Endpoints are the client URLs of the cluster's members: host:port,
	// http://host:port, https://host:port, unix:///path or unixs:///path, one per
	// string. A host:port means TLS when TLS or TLSFiles is set,
	// else plain text. An IPv6 address is written in brackets, with its zone if it
	// has one: [fe80::1%eth0]:2379.
	Endpoints []string

	// DiscoverySRV is a domain whose SRV records name the members, in place of
	// Endpoints: _etcd-client-ssl._tcp.DOMAIN for TLS and _etcd-client._tcp.DOMAIN
	// for plain text. Where there are records for TLS, or TLS is set, those for
	// plain text are not used. The client asks DNS when it first needs a connection,
	// whenever no member can be reached, and in Sync.
	//
	// Certificates are verified for the host that a record names. If you do not trust
	// DNS that far, set TLS.ServerName to a name that all certificates have.
	DiscoverySRV string

	// DiscoverySRVName, when not empty, is added to the name of the service to
	// distinguish clusters in one domain: _etcd-client-NAME._tcp.DOMAIN.
	DiscoverySRVName string

	// Resolver asks DNS for DiscoverySRV, and for the addresses of the endpoints'
	// hosts where there is no DialContext. nil means net.DefaultResolver. The client
	// looks a host up for each connection. When it has several addresses, each
	// connection goes to one at random, and to the next when no etcd answers there.
	Resolver *net.Resolver

	// Prefer selects the member that calls go to while it is fit; otherwise they go
	// to any other member at once. Watches and large reads are always spread. The zero
	// value, PreferAny, spreads calls too. With the other values the client asks the
	// members for their state every 5 s while calls are made.
	Prefer Prefer

	// SyncInterval, when positive, is the time between automatic runs of
	// [Client.Sync], up to a tenth more or less; the first run follows after one
	// interval. A failure is logged, and the next run tries again. 0 means never.
	SyncInterval time.Duration

	// TLS configures https and unixs endpoints. nil means the system's
	// certificate authorities, and plain text for endpoints without a scheme.
	// Versions below 1.2 are not offered unless MinVersion says so. An empty
	// ServerName means the endpoint's host.
	TLS *tls.Config

	// TLSFiles are files that configure TLS, in addition to TLS or in its place: with
	// them a host:port means TLS. The client reads them again for each connection, so
	// that certificates can be replaced while it runs. Files that do not fit together,
	// as when only one of two has been replaced, leave the former ones in use. The
	// zero value means none.
	TLSFiles TLSFiles

	// Username and Password name an etcd user, for clusters with authentication. Set
	// both or neither. While authentication is off in the cluster they are not used. A
	// user that the TLS client certificate names needs neither.
	Username string
	Password string

	// Credentials, when not nil, returns the user's name and password, or a token (a JWT),
	// in place of Username and Password: for passwords that change and tokens that expire.
	// The client calls it when it first needs them and whenever the server no longer accepts
	// the last result, in one goroutine at a time; calls wait for it. Its context ends after
	// Timeout (10 s if there is none) and with Close. A call that takes longer is abandoned,
	// and the next one waits until it has returned. The result is never logged. A panic is
	// an error. After an error the client calls it again 0.2 s to 5 s later; calls fail
	// until then, with ErrNoCredentials and that error, and watches and leases that need a
	// new token wait. (With a Username and Password that the server no longer accepts, a
	// watch ends with ErrAuthFailed.)
	Credentials func(ctx context.Context) (Credentials, error)

	// Retry is how many attempts may follow the first one. 0 means 5; negative means
	// none. Within one attempt, and not counted, a request that a member did not accept
	// or refused for a passing reason moves to another member, as does a read whose
	// connection was lost, about once per member; and the attempt waits out an election.
	// See Timeout for how long all of that may take.
	Retry int

	// RetrySleep is the pause between two attempts; each is up to 20 % longer or
	// shorter. 0 means 1 s.
	RetrySleep time.Duration

	// Timeout bounds one attempt of a request that has a single answer, with all that
	// it waits for: a token, a connection, the answer, an election. 0 means 10 s;
	// negative means no bound. Range iterators and physical compactions are not
	// bounded by it.
	//
	// So a call whose context has no deadline ends at the latest after Retry + 1
	// attempts and the pauses between them: after about 65 s by default, and 66 s at
	// most. A write that has reached a member and has no answer within Timeout fails
	// then, unless RetryWrites is AtLeastOnce. A call that shares a request (see
	// Coalesce) may have waited for others before.
	//
	// A context with a deadline replaces Timeout: each attempt may take all the time
	// that is left, and the call ends at the deadline at the latest, or sooner if
	// Retry + 1 attempts have failed.
	Timeout time.Duration

	// HedgeReads is how long a read waits for one member before the client sends it to
	// a second one as well; the first answer counts. 0 hedges only when something is
	// wrong: when the read's connection has brought no byte for about an eighth of a
	// second, or longer where answers have taken longer lately, and another connection is
	// not as quiet; that costs at most one read in fifty. Or after about one and a half
	// seconds, while another member is better. A positive time, like the 99th percentile
	// of your reads, cuts off slow answers too, at the price of up to a tenth more reads.
	// Negative means never.
	HedgeReads time.Duration

	// DialTimeout bounds one attempt to connect to one endpoint, handshakes
	// included. 0 means 5 s.
	DialTimeout time.Duration

	// RetryWrites says when a failed write is tried again. The zero value, SafeOnly,
	// never applies a write twice. [WithRetryWrites] changes it for single calls.
	RetryWrites RetryWrites

	// Coalesce says which concurrent calls may share requests. The zero value,
	// CoalesceReads, lets Gets of single keys share; the only visible effect is speed.
	// CoalesceAll lets writes share too.
	Coalesce Coalesce

	// MaxResponseBytes is the size of the largest message that the client accepts from
	// a server; a larger one ends its request with ErrResponseTooLarge. 0 means 2 GiB -
	// 1, which is also the maximum.
	MaxResponseBytes int

	// Logger logs connections that open and close, retries and lost leases; at debug
	// level also failed attempts. A line that belongs to a call has the call's context,
	// from which a handler can read the trace. The client never logs keys, values,
	// passwords or tokens. nil means no log.
	Logger *slog.Logger

	// Hooks are called when something happens inside the client, see [Hooks].
	Hooks Hooks

	// DialContext, when not nil, makes the connections in place of a net.Dialer, for proxies
	// and tunnels: network is "tcp" and address host:port, with the host not looked up, or
	// "unix" and a path, as in the endpoint. The client uses it for every endpoint: given,
	// set by SetEndpoints, discovered or learned by Sync. TLS, for the endpoint's host, runs
	// over the returned connection. Its context ends when connecting takes too long, and with
	// Close. Several calls may run at once. A call that goes on after that is abandoned, and
	// its connection closed; with 64 abandoned calls, DialContext is not called until one
	// returns. A panic of it, or of the connection's methods, is an error. The client sets
	// read deadlines of the connection, and so replaces those that DialContext may have set.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Prefer selects the member that calls go to.
type Prefer uint8

const (
	// PreferAny spreads calls over all members that are fit.
	PreferAny Prefer = iota
	// PreferNearest sends calls to the member that answers soonest. Another one
	// takes its place when it is clearly sooner.
	PreferNearest
	// PreferLeader sends writes, linearizable reads and lease renewals to the
	// leader, to which the others would forward them: one way between members
	// less for each. Serializable reads are spread.
	PreferLeader
)

var preferNames = []string{"any", "nearest", "leader"}

// String returns "any", "nearest" or "leader", or "Prefer(7)" for a value that is
// none of the constants.
func (p Prefer) String() string { return choiceName("Prefer", preferNames, uint8(p)) }

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

var retryWritesNames = []string{"safe", "at_least_once"}

// String returns "safe" or "at_least_once", as [ParseDSN] takes them, or
// "RetryWrites(7)" for a value that is none of the constants.
func (r RetryWrites) String() string { return choiceName("RetryWrites", retryWritesNames, uint8(r)) }

// WithRetryWrites returns a copy of ctx for calls, also of [Client.Batch], whose writes
// are to be retried otherwise than [Config.RetryWrites] says: AtLeastOnce for an
// import, whose writes do no harm when they are made twice, in a program whose other
// writes would, or SafeOnly for the one that must not be. A value that is neither
// counts as SafeOnly. A nil ctx stays nil.
//
// With [CoalesceAll] a write that is retried otherwise than the client's others shares
// no request with them, and is not ordered with them.
func WithRetryWrites(ctx context.Context, r RetryWrites) context.Context {
	if ctx == nil {
		return nil
	}
	return call.WithAtLeastOnce(ctx, r == AtLeastOnce)
}

// choiceName is how a value prints of a type whose names, from 0 on, are given.
func choiceName(typeName string, names []string, value uint8) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", typeName, value)
}

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
	if err := c.checkDurations(); err != nil {
		return nil, err
	}
	switch {
	case c.Logger != nil && c.Logger.Handler() == nil:
		return nil, errors.New("Config.Logger has no handler; make it with slog.New")
	case c.Prefer > PreferLeader:
		return nil, fmt.Errorf("Config.Prefer is %d; use PreferAny, PreferNearest or PreferLeader", c.Prefer)
	case c.RetryWrites > AtLeastOnce:
		return nil, fmt.Errorf("Config.RetryWrites is %d; use SafeOnly or AtLeastOnce", c.RetryWrites)
	case c.Coalesce > CoalesceOff:
		return nil, fmt.Errorf("Config.Coalesce is %d; use CoalesceReads, CoalesceAll or CoalesceOff", c.Coalesce)
	case c.MaxResponseBytes < 0 || c.MaxResponseBytes > math.MaxInt32:
		return nil, fmt.Errorf("Config.MaxResponseBytes is %d; it must be in 0-%d", c.MaxResponseBytes, math.MaxInt32)
	}
	return endpoints, nil
}

func (c *Config) checkDurations() error {
	for _, f := range [...]struct {
		name     string
		d        time.Duration
		negative bool // means never, or no bound
	}{
		{"SyncInterval", c.SyncInterval, false},
		{"RetrySleep", c.RetrySleep, false},
		{"Timeout", c.Timeout, true},
		{"HedgeReads", c.HedgeReads, true},
		{"DialTimeout", c.DialTimeout, false},
	} {
		if f.d < 0 && !f.negative {
			return fmt.Errorf("Config.%s is negative: %v", f.name, f.d)
		}
		if err := duration.Check("Config."+f.name, f.d); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkCredentials() error {
	if c.Username == "" && c.Password == "" {
		return nil
	}
	if c.Credentials != nil {
		return errors.New("Config.Credentials is set, and so is Config.Username or Config.Password; use one or the other")
	}
	if err := call.CheckUser(c.Username, c.Password); err != nil {
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
