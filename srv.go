package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// srvRecords finds the members in DNS.
type srvRecords struct {
	domain   string
	name     string // of the cluster in the domain; may be empty
	resolver *net.Resolver
}

// networkSRV is the network of an endpoint that is no member but a place to ask
// for members.
const networkSRV = "srv"

// endpoint stands for the records in the set: it is connected to, which asks
// DNS, when there is no other endpoint or none can be reached.
func (s *srvRecords) endpoint() balance.Endpoint {
	name := "SRV records of " + s.domain
	return balance.Endpoint{Name: name, Finder: true, Target: transport.Target{Network: networkSRV, Address: s.domain}}
}

func (s *srvRecords) service(ssl bool) string {
	service := "etcd-client"
	if ssl {
		service += "-ssl"
	}
	if s.name != "" {
		service += "-" + s.name
	}
	return service
}

// lookUp asks for the records of one service and returns them as URLs.
func (s *srvRecords) lookUp(ctx context.Context, ssl bool) ([]string, error) {
	_, records, err := s.resolver.LookupSRV(ctx, s.service(ssl), "tcp", s.domain)
	if err != nil && len(records) == 0 {
		return nil, err
	}
	scheme := "http://"
	if ssl {
		scheme = "https://"
	}
	var urls []string
	for _, r := range records {
		host := strings.TrimSuffix(r.Target, ".")
		url := scheme + net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
		if host != "" && !slices.Contains(urls, url) { // "." says that there is no such service
			urls = append(urls, url)
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("_%s._tcp.%s names no host", s.service(ssl), s.domain)
	}
	return urls, nil
}

// find asks for the members. Records for TLS are preferred, and never given up
// for plain text where TLS is configured.
func (s *srvRecords) find(ctx context.Context, secureOnly bool) ([]string, error) {
	urls, err := s.lookUp(ctx, true)
	if err == nil || secureOnly {
		return urls, err
	}
	if !isNotFound(err) {
		return nil, err // not to be taken for "there are none"
	}
	urls, plainErr := s.lookUp(ctx, false)
	if plainErr != nil {
		return nil, call.Join(err, plainErr)
	}
	return urls, nil
}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return !errors.As(err, &dns) || dns.IsNotFound
}

// discover asks DNS and makes the set use the result. Its error, never nil, is
// that of the connection that was asked for; where DNS has named other members
// than before, those are tried next.
func (e *endpoints) discover(ctx context.Context) error {
	err := e.resolve(ctx)
	if err == nil {
		err = errors.New("the members that DNS names cannot be reached")
	}
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: err}
}

// resolve asks DNS and makes the set use the result. When that fails the
// endpoints stay as they are.
func (e *endpoints) resolve(ctx context.Context) error {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil
	}
	urls, err := srv.find(ctx, e.tls != nil)
	if err != nil {
		return withoutContext(ctx, err)
	}
	found, err := parseEndpoints("the answer of DNS for "+srv.domain, urls, e.tls)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.srv != srv || sameNames(e.given, found) {
		return nil
	}
	e.given = found
	e.changes++
	e.applyLocked()
	return nil
}

// withoutContext makes the end of ctx, which is not the caller's, an ordinary error.
func withoutContext(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("DNS did not answer: %v", context.Cause(ctx))
}

// sameNames reports whether two lists name the same endpoints, in any order: DNS
// puts them in a different one each time.
func sameNames(a, b []balance.Endpoint) bool {
	has := func(list []balance.Endpoint, name string) bool {
		return slices.ContainsFunc(list, func(e balance.Endpoint) bool { return e.Name == name })
	}
	if len(a) != len(b) {
		return false
	}
	for _, e := range a {
		if !has(b, e.Name) {
			return false
		}
	}
	return true
}

// checkEndpoints reads the endpoints, or checks what they are to be found by.
func (c *Config) checkEndpoints() ([]balance.Endpoint, error) {
	switch {
	case c.DiscoverySRV == "" && c.DiscoverySRVName != "":
		return nil, errors.New("Config.DiscoverySRVName is set without Config.DiscoverySRV")
	case c.DiscoverySRV == "":
		return parseEndpoints("Config.Endpoints", c.Endpoints, c.TLS)
	case len(c.Endpoints) > 0:
		return nil, errors.New("Config.DiscoverySRV and Config.Endpoints are both set; use one")
	}
	if !isName(c.DiscoverySRV) {
		return nil, fmt.Errorf("Config.DiscoverySRV %q is not a domain name", c.DiscoverySRV)
	}
	if c.DiscoverySRVName != "" && (!isName(c.DiscoverySRVName) || strings.Contains(c.DiscoverySRVName, ".")) {
		return nil, fmt.Errorf("Config.DiscoverySRVName %q cannot be a part of a DNS name", c.DiscoverySRVName)
	}
	return nil, nil
}

// isName reports whether s can be (a part of) a name in DNS.
func isName(s string) bool {
	if s == "" || len(s) > 200 || strings.HasPrefix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
}

// first returns the endpoints with which the set begins.
func (c *Config) first(parsed []balance.Endpoint) []balance.Endpoint {
	if s := c.srvRecords(); s != nil {
		return []balance.Endpoint{s.endpoint()}
	}
	return parsed
}

func (c *Config) srvRecords() *srvRecords {
	if c.DiscoverySRV == "" {
		return nil
	}
	return &srvRecords{c.DiscoverySRV, c.DiscoverySRVName, c.resolver()}
}

// hostLookup looks up the hosts of endpoints; nil leaves them to DialContext.
func (c *Config) hostLookup() balance.Resolver {
	if c.DialContext != nil {
		return nil
	}
	r := c.resolver()
	return func(ctx context.Context, host string) ([]netip.Addr, error) { return r.LookupNetIP(ctx, "ip", host) }
}

// resolver asks DNS.
func (c *Config) resolver() *net.Resolver {
	if c.Resolver == nil {
		return net.DefaultResolver
	}
	return c.Resolver
}
