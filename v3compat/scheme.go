package v3compat

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
)

// In client/v3 the first endpoint decides for all of a connection whether it has TLS, and
// SetEndpoints and Sync don't change that: the scheme http leaves Config.TLS out, https and
// unixs have TLS without it, and others have TLS if it is set. An etcd.Client goes by each
// endpoint and refuses a scheme that says otherwise than its configuration.

// schemes writes the endpoints of a clientv3.Client for an etcd.Client.
type schemes uint8

const (
	asTheyAre schemes = iota // those of a wrapped client
	plain
	secure
)

// schemesOf returns what the first endpoint decides, and the configuration for it.
func schemesOf(first string, config *tls.Config) (schemes, *tls.Config) {
	scheme, _ := cutScheme(first)
	switch {
	case scheme == "http":
		return plain, nil
	case config != nil:
		return secure, config
	case scheme == "https" || scheme == "unixs":
		return secure, &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return plain, nil
}

// cutScheme splits an endpoint that has one of etcd's schemes; scheme is empty otherwise.
func cutScheme(endpoint string) (scheme, rest string) {
	for _, scheme := range [...]string{"http", "https"} {
		if rest, ok := strings.CutPrefix(endpoint, scheme+"://"); ok {
			return scheme, rest
		}
	}
	for _, scheme := range [...]string{"unix", "unixs"} {
		if rest, ok := strings.CutPrefix(endpoint, scheme+":"); ok {
			return scheme, rest
		}
	}
	return "", endpoint
}

// own is endpoint for an etcd.Client. Nothing that asks for TLS loses it: a plain
// connection of client/v3 would not be answered there.
func (s schemes) own(endpoint string) string {
	scheme, rest := cutScheme(endpoint)
	if scheme == "http" || scheme == "https" {
		rest, _, _ = strings.Cut(rest, "/") // client/v3 ignores a path
	}
	switch {
	case s == asTheyAre:
		return endpoint
	case scheme == "http" && s == secure:
		return "https://" + dialed(rest)
	case scheme == "unix" && s == secure:
		return "unixs:" + rest
	case scheme == "http" || scheme == "https":
		return scheme + "://" + dialed(rest)
	case scheme == "":
		return s.unambiguous(dialed(rest))
	}
	return endpoint
}

// unambiguous gives an address whose host is named like a scheme the scheme that it has.
func (s schemes) unambiguous(address string) string {
	switch host, _, _ := net.SplitHostPort(address); {
	case host != "http" && host != "https":
		return address
	case s == secure:
		return "https://" + address
	}
	return "http://" + address
}

// dialed is the address that a dial of address goes to: without a host, this machine, and a
// service in place of a port is looked up. An etcd.Client takes neither.
func dialed(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if host == "" {
		host = "localhost"
	}
	if n, err := net.LookupPort("tcp", port); err == nil && port != "" {
		port = strconv.Itoa(n)
	}
	return net.JoinHostPort(host, port)
}

// ownAll is own for a list, which may name an address more than once.
func (s schemes) ownAll(endpoints []string) []string {
	own := make([]string, 0, len(endpoints))
	seen := make(map[string]bool)
	for _, endpoint := range endpoints {
		o := s.own(endpoint)
		if _, address := cutScheme(o); !seen[address] {
			seen[address] = true
			own = append(own, o)
		}
	}
	return own
}
