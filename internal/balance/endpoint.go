package balance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

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

// ParseEndpoint reads host:port, http://host:port, https://host:port, unix:///path,
// unixs:///path, and what else people write that has one meaning, as unix:path.
// config is the client's TLS configuration: with it, host:port means TLS. Errors say
// what is wrong, and show no password.
func ParseEndpoint(s string, config *tls.Config) (Endpoint, error) {
	scheme, rest := cutScheme(s)
	onSocket := scheme == "unix" || scheme == "unixs"
	switch {
	case s == "":
		return Endpoint{}, errors.New("is empty")
	case strings.Contains(s, "@") && !onSocket:
		// First of all, and without s: no error may show a password.
		return Endpoint{}, errors.New("has a user or password in it; set Config.Username and Config.Password instead")
	case strings.HasPrefix(s, "://"):
		return Endpoint{}, fmt.Errorf("%q has no scheme before ://", s)
	case strings.TrimSpace(s) != s:
		return Endpoint{}, fmt.Errorf("%q has spaces around it", s)
	case isList(s, onSocket):
		return Endpoint{}, &listError{s}
	}
	switch scheme {
	case "":
		if problem := schemeProblem(s); problem != "" {
			return Endpoint{}, fmt.Errorf("%q %s", s, problem)
		}
		return tcpEndpoint(s, rest, config != nil, config)
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

// listError is the error for several endpoints in one.
type listError struct{ s string }

func (e *listError) Error() string {
	return fmt.Sprintf("%q holds more than one endpoint; give each as a separate string", e.s)
}

// IsList reports whether an error of ParseEndpoint is that of several endpoints in one.
func IsList(err error) bool {
	_, ok := err.(*listError) //nolint:errorlint // ParseEndpoint wraps none
	return ok
}

// cutScheme splits s into its scheme, empty if it has none, and the rest. A slash
// more or less makes no difference where it leaves one meaning.
func cutScheme(s string) (scheme, rest string) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest, found = strings.Cut(s, "//") // https//host:2379
		found = found && isHTTP(scheme)
	}
	if !found {
		scheme, rest, _ = strings.Cut(s, ":")
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "http", "https":
		if found || strings.ContainsAny(rest, "/:") { // http:2379 may be a port of the host "http"
			return scheme, strings.TrimLeft(rest, "/")
		}
	case "unix", "unixs":
		return scheme, rest
	}
	if !found {
		return "", s
	}
	return scheme, rest
}

// isHTTP reports whether s is a scheme of HTTP, in any case.
func isHTTP(s string) bool { return strings.EqualFold(s, "http") || strings.EqualFold(s, "https") }

// schemeProblem is what is wrong with the scheme that s may have been meant to have.
func schemeProblem(s string) string {
	if name, rest, _ := strings.Cut(s, "//"); strings.EqualFold(name, "unix") || strings.EqualFold(name, "unixs") {
		return fmt.Sprintf("has no colon behind %s; write %[1]s:///%s", name, strings.TrimLeft(rest, "/"))
	}
	if name, port, _ := strings.Cut(s, ":"); isHTTP(name) && portProblem(port) == "" {
		return fmt.Sprintf("has no host, or is a port of a host of that name; write %s://host:%s or http://%[1]s:%[2]s", name, port)
	}
	return ""
}

// isList: s is what other programs take for several endpoints. The path of a socket
// may have almost anything in it.
func isList(s string, onSocket bool) bool {
	if !onSocket && strings.ContainsAny(s, ",;") {
		return true
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
	for _, part := range parts {
		if scheme, _ := cutScheme(part); scheme == "" && (onSocket || !strings.Contains(part, ":")) {
			return false
		}
	}
	return len(parts) > 1
}

func tcpEndpoint(name, rest string, secure bool, config *tls.Config) (Endpoint, error) {
	host, port, problem := splitHostPort(rest)
	if problem != "" {
		return Endpoint{}, fmt.Errorf("%q %s", name, problem)
	}
	// A zone is for the dialer: it says nothing to the server, nor does its certificate.
	bare, _, _ := strings.Cut(host, "%")
	e := Endpoint{Name: name, Target: transport.Target{
		Network: "tcp", Address: net.JoinHostPort(host, port), Authority: net.JoinHostPort(bare, port),
	}}
	return e.secure(secure, config, bare)
}

// splitHostPort splits what is behind the scheme. A problem is what an error says
// behind the endpoint's name.
func splitHostPort(s string) (host, port, problem string) {
	s = strings.TrimSuffix(s, "/")
	switch {
	case strings.HasPrefix(s, "/"):
		return "", "", "is a path; write host:port, or unix:///path/of/socket"
	case isHTTP(s[:max(strings.Index(s, "://"), 0)]):
		return "", "", "has its scheme twice"
	case strings.ContainsAny(s, "/?#"):
		return "", "", "has a path or query; an endpoint is only a host and a port"
	case strings.HasPrefix(s, "["):
		host, port, problem = splitBrackets(s)
	case strings.Contains(s, "]"):
		problem = "has a bracket ] without its [; write [::1]:2379"
	default:
		host, port, problem = splitColon(s)
	}
	if problem == "" {
		problem = portProblem(port)
	}
	return host, port, problem
}

// splitBrackets splits [address]:port. The address may have a zone, with its % as it
// is or as URLs have it, %25.
func splitBrackets(s string) (host, port, problem string) {
	host, rest, closed := strings.Cut(s[1:], "]")
	if !closed {
		return "", "", "has a bracket [ without its ]; write [::1]:2379"
	}
	host = unescapeZone(host)
	switch _, err := netip.ParseAddr(host); {
	case host == "":
		return "", "", "has no host"
	case err != nil:
		return "", "", "has no IP address between its brackets; write [::1]:2379, or [fe80::1%25eth0]:2379 with a zone"
	case rest == "":
		return host, "", ""
	case rest[0] != ':':
		return "", "", "has something between the bracket ] and the port; write [::1]:2379"
	}
	return host, rest[1:], ""
}

// unescapeZone has the % of an address's zone as it is, which in URLs is %25.
func unescapeZone(host string) string {
	if address, zone, ok := strings.Cut(host, "%25"); ok && zone != "" {
		return address + "%" + zone
	}
	return host
}

// splitColon splits host:port.
func splitColon(s string) (host, port, problem string) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		host = s
	} else {
		host, port = s[:at], s[at+1:]
	}
	switch {
	case host == "":
		return "", "", "has no host"
	case zoned(host) && port != "": // a zone has no colon, so this is one behind the address
		return unescapeZone(host), port, ""
	case strings.Contains(host, ":"):
		if problem := bracketProblem(s, host, port); problem != "" {
			return "", "", problem
		}
		return "", "", "has more than one colon; write host:port"
	case strings.ContainsFunc(host, notInHosts):
		return "", "", "cannot be parsed: there is a character in its host that no host has; write host:port or https://host:port"
	}
	return host, port, ""
}

// zoned reports whether host is an IPv6 address with a zone.
func zoned(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Zone() != "" && !strings.Contains(address.Zone(), ":")
}

// bracketProblem is the problem of s, which may be an IPv6 address, or be one, host, with a
// port; empty if it is neither.
func bracketProblem(s, host, port string) string {
	_, whole := netip.ParseAddr(s)
	_, before := netip.ParseAddr(host)
	const without = "has an IPv6 address without brackets; write "
	switch {
	case whole == nil && before == nil && portProblem(port) == "" && !strings.Contains(s, "%"):
		return fmt.Sprintf("%s[%s]:%s, or [%s]:2379 if all of it is the address", without, host, port, s)
	case whole == nil:
		return fmt.Sprintf("%s[%s]:2379", without, s)
	case before == nil:
		return fmt.Sprintf("%s[%s]:%s", without, host, port)
	}
	return ""
}

func notInHosts(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune("\"%<>[\\]^`{|}", r)
}

func portProblem(port string) string {
	if port == "" {
		return "has no port; etcd's client port is usually 2379"
	}
	if strings.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
		return "has a port that is not a number; etcd's client port is usually 2379"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Sprintf("has the port %s, which is not in 1-65535", port)
	}
	return ""
}

func unixEndpoint(name, path string, secure bool, config *tls.Config) (Endpoint, error) {
	switch {
	case path == "":
		return Endpoint{}, fmt.Errorf("%q has no path; write unix:///path/of/socket", name)
	case !strings.Contains(name, "/") && portProblem(path) == "":
		return Endpoint{}, fmt.Errorf("%q may be a socket or a port of a host; write unix:///path/of/socket or http://host:port", name)
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
