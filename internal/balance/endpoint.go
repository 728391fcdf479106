package balance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"silly.store/etcd/internal/transport"
)

// Endpoint is one address of the cluster.
type Endpoint struct {
	// Name is what the user wrote; errors show it.
	Name   string
	Target transport.Target
	// Finder is no member: connecting to it, which is tried when nothing else is
	// up, finds endpoints and puts them into the set with Replace. It always fails.
	Finder bool
}

// ParseEndpoint reads host:port, http://host:port, https://host:port,
// unix:///path and unixs:///path. config is the client's TLS configuration: with
// it, host:port means TLS.
func ParseEndpoint(s string, config *tls.Config) (Endpoint, error) {
	if s == "" {
		return Endpoint{}, errors.New("is empty")
	}
	if strings.Contains(s, "@") && !strings.HasPrefix(s, "unix") {
		// First of all, and without s: no error may show a password.
		return Endpoint{}, errors.New("has a user or password in it; set Config.Username and Config.Password instead")
	}
	if strings.TrimSpace(s) != s {
		return Endpoint{}, fmt.Errorf("%q has spaces around it", s)
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return tcpEndpoint(s, s, config != nil, config)
	}
	switch scheme {
	case "http":
		return tcpEndpoint(s, rest, false, config)
	case "https":
		return tcpEndpoint(s, rest, true, config)
	case "unix":
		return unixEndpoint(s, rest, false, config)
	case "unixs":
		return unixEndpoint(s, rest, true, config)
	}
	return Endpoint{}, fmt.Errorf("%q has the scheme %q; known are http, https, unix and unixs, or none (host:port)", s, scheme)
}

func tcpEndpoint(name, rest string, secure bool, config *tls.Config) (Endpoint, error) {
	u, err := url.Parse("any://" + rest)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q cannot be parsed; write host:port or https://host:port", name)
	}
	switch {
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return Endpoint{}, fmt.Errorf("%q has a path or query; an endpoint is only a host and a port", name)
	case u.Hostname() == "":
		return Endpoint{}, fmt.Errorf("%q has no host", name)
	case strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "["):
		return Endpoint{}, fmt.Errorf("%q has an IPv6 address without brackets; write [::1]:2379", name)
	case u.Port() == "":
		return Endpoint{}, fmt.Errorf("%q has no port; etcd's client port is usually 2379", name)
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return Endpoint{}, fmt.Errorf("%q has the port %s, which is not in 1-65535", name, u.Port())
	}
	address := net.JoinHostPort(u.Hostname(), u.Port())
	e := Endpoint{Name: name, Target: transport.Target{Network: "tcp", Address: address, Authority: address}}
	return e.secure(secure, config, u.Hostname())
}

func unixEndpoint(name, path string, secure bool, config *tls.Config) (Endpoint, error) {
	if path == "" {
		return Endpoint{}, fmt.Errorf("%q has no path; write unix:///path/of/socket", name)
	}
	e := Endpoint{Name: name, Target: transport.Target{Network: "unix", Address: path, Authority: "localhost"}}
	return e.secure(secure, config, "localhost")
}

// secure gives the endpoint its TLS configuration, or refuses to send in plain
// text what the user meant to protect.
func (e Endpoint) secure(secure bool, config *tls.Config, host string) (Endpoint, error) {
	if !secure {
		if config != nil && e.Target.Network == "tcp" {
			return Endpoint{}, fmt.Errorf("%q is plain text though Config.TLS is set; write https:// or leave the scheme out", e.Name)
		}
		return e, nil
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	e.Target.TLS = config
	return e, nil
}
