package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/duration"
)

// ParseDSN reads a configuration from one line, as programs take it from a flag
// or a file:
//
//	etcd://user:password@host1:2379,host2/?timeout=5s&retry=3
//	etcds://host/?ca=/etc/ssl/etcd-ca.pem&cert=client.pem&key=client.key
//	etcd:///run/etcd.sock
//	etcds+srv://domain/
//
// With +srv the members are found by the SRV records of the domain, see
// [Config.DiscoverySRV]. etcds means TLS, and so do etcd with tls=true, ca, cert, key or server_name.
// Hosts without a port have port 2379; a path in place of the hosts is a unix
// socket. User, password and values are percent-encoded where they hold one of
// % @ / ? # & (in the user also a colon).
//
// The parameters, each at most once:
//
//   - tls: true or false
//   - ca, cert, key, server_name: see [TLSFiles]
//   - timeout, dial_timeout: like 5s; timeout=0 means none
//   - retry: how often; retry=0 means never
//   - retry_sleep: like 500ms
//   - retry_writes: safe or at_least_once
//   - coalesce: reads, all or off; see [Coalesce]
//   - max_response_bytes: a number of bytes
//   - sync_interval: see [Config.SyncInterval]
//   - srv_name: see [Config.DiscoverySRVName]; only with +srv
//
// Certificates are always verified; to disable that, set [Config.TLS].
// The files are read by [New], which also checks the rest of the configuration.
//
// Errors: ErrInvalidConfig; the text names the part that is wrong. It shows no
// user, password or host.
func ParseDSN(dsn string) (Config, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return Config{}, invalidConfig("ParseDSN", err)
	}
	return config, nil
}

// invalidConfig is the error of a configuration that is refused.
func invalidConfig(op string, err error) error {
	return &Error{Op: op, Code: CodeInvalidArgument, Outcome: OutcomeNotSent, Message: err.Error(), sentinel: ErrInvalidConfig}
}

const defaultPort = "2379"

// dsn is a DSN in its parts, as they are written.
type dsn struct {
	secure bool // etcds
	srv    bool // with +srv
	user   string
	hasAt  bool
	hosts  string
	path   string
	query  string
}

// Nothing of a DSN that is not well formed may be in an error: where its
// password begins and ends is not known then.

func parseDSN(s string) (config Config, err error) {
	parts, err := splitDSN(s)
	if err != nil {
		return config, err
	}
	if err := parts.setUser(&config); err != nil {
		return config, err
	}
	secure, err := parts.setParameters(&config)
	if err != nil {
		return config, err
	}
	if parts.srv {
		return config, parts.setDomain(&config, secure)
	}
	if config.DiscoverySRVName != "" {
		return config, errors.New("DSN: parameter srv_name is only for etcd+srv:// and etcds+srv://")
	}
	config.Endpoints, err = parts.endpoints(secure)
	return config, err
}

func splitDSN(s string) (d dsn, err error) {
	scheme, rest, _ := strings.Cut(s, "://")
	scheme, d.srv = strings.CutSuffix(scheme, "+srv")
	switch {
	case scheme == "etcds":
		d.secure = true
	case scheme != "etcd" || rest == "":
		return d, errors.New("DSN does not begin with etcd:// or etcds:// and a host")
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(rest, "@") {
		return d, errors.New("DSN has an @ after the hosts; in the user, the password and values write @ as %40, / as %2F, ? as %3F and # as %23")
	}
	if strings.Contains(rest, "#") {
		return d, errors.New("DSN has a fragment (#); write # as %23")
	}
	d.path, d.query, _ = strings.Cut(rest, "?")
	d.user, d.hosts, d.hasAt = strings.Cut(authority, "@")
	if !d.hasAt {
		d.user, d.hosts = "", authority
	}
	if strings.Contains(d.hosts, "@") {
		return d, errors.New("DSN has an @ in the user or password; write it as %40. Give the user once, before all hosts")
	}
	return d, nil
}

func (d *dsn) setUser(config *Config) error {
	if !d.hasAt {
		return nil
	}
	user, password, _ := strings.Cut(d.user, ":")
	var err error
	if config.Username, err = url.PathUnescape(user); err != nil {
		return errors.New("DSN: the user has a % without two hex digits after it; write % as %25")
	}
	if config.Password, err = url.PathUnescape(password); err != nil {
		return errors.New("DSN: the password has a % without two hex digits after it; write % as %25")
	}
	switch {
	case config.Username == "":
		return errors.New("DSN: there is an @ and no user before it")
	case config.Password == "":
		return errors.New("DSN: the user has no password; write user:password@")
	}
	return nil
}

// endpoints are those of the hosts, or of the unix socket.
func (d *dsn) endpoints(secure bool) ([]string, error) {
	scheme, socket := "http://", "unix://"
	if secure {
		scheme, socket = "https://", "unixs://"
	}
	if d.hosts == "" {
		path, err := url.PathUnescape(d.path)
		switch {
		case err != nil:
			return nil, errors.New("DSN: the path has a % without two hex digits after it; write % as %25")
		case path == "" || path == "/":
			return nil, errors.New("DSN has no host")
		}
		return []string{socket + path}, nil
	}
	if strings.HasSuffix(d.hosts, ":") && strings.HasPrefix(d.path, "//") {
		return nil, errors.New("DSN has a scheme inside of the hosts; write it once: etcd://host1:2379,host2:2379")
	}
	if d.path != "" && d.path != "/" {
		return nil, errors.New("DSN has a path after the hosts, which means nothing; a unix socket is written etcd:///path")
	}
	hosts := strings.Split(d.hosts, ",")
	for i, host := range hosts {
		e := scheme + withPort(host)
		switch _, err := balance.ParseEndpoint(e, nil); {
		case balance.IsList(err):
			return nil, fmt.Errorf("DSN: host %d of %d holds more than one; write a comma between two", i+1, len(hosts))
		case host == "":
			return nil, fmt.Errorf("DSN: host %d of %d has no host; there is a comma too many", i+1, len(hosts))
		case err != nil:
			return nil, fmt.Errorf("DSN: host %d of %d %s", i+1, len(hosts), strings.TrimPrefix(err.Error(), strconv.Quote(e)+" "))
		}
		hosts[i] = e
	}
	return hosts, nil
}

// setDomain takes the host for the domain to ask for SRV records.
func (d *dsn) setDomain(config *Config, secure bool) error {
	switch {
	case d.path != "" && d.path != "/":
		return errors.New("DSN has a path after the domain, which means nothing")
	case d.hosts == "" || strings.ContainsAny(d.hosts, ",:[] "):
		return errors.New("DSN: with +srv there must be one domain, without a port")
	}
	config.DiscoverySRV = d.hosts
	if secure && config.TLSFiles == (TLSFiles{}) {
		config.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return nil
}

func withPort(host string) string {
	if host != "" && (!strings.Contains(host, ":") || strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")) {
		return host + ":" + defaultPort
	}
	return host
}

// parameters are what a DSN may have behind its question mark.
var parameters = map[string]func(c *Config, value string) error{
	"ca":           func(c *Config, v string) error { return setText(&c.TLSFiles.CA, v) },
	"cert":         func(c *Config, v string) error { return setText(&c.TLSFiles.Cert, v) },
	"key":          func(c *Config, v string) error { return setText(&c.TLSFiles.Key, v) },
	"server_name":  func(c *Config, v string) error { return setText(&c.TLSFiles.ServerName, v) },
	"timeout":      func(c *Config, v string) error { return setDuration(&c.Timeout, v, -1) },
	"dial_timeout": func(c *Config, v string) error { return setDuration(&c.DialTimeout, v, 0) },
	"retry":        func(c *Config, v string) error { return setCount(&c.Retry, v, -1) },
	"retry_sleep":  func(c *Config, v string) error { return setDuration(&c.RetrySleep, v, 0) },
	"retry_writes": func(c *Config, v string) error {
		return setChoice((*uint8)(&c.RetryWrites), v, retryWritesNames)
	},
	"coalesce":           func(c *Config, v string) error { return setChoice((*uint8)(&c.Coalesce), v, coalesceNames) },
	"sync_interval":      func(c *Config, v string) error { return setDuration(&c.SyncInterval, v, 0) },
	"srv_name":           func(c *Config, v string) error { return setText(&c.DiscoverySRVName, v) },
	"max_response_bytes": func(c *Config, v string) error { return setCount(&c.MaxResponseBytes, v, 0) },
}

// setParameters also says whether TLS is wanted.
func (d *dsn) setParameters(config *Config) (secure bool, err error) {
	given, err := d.parameters()
	if err != nil {
		return false, err
	}
	want, ok := given["tls"]
	delete(given, "tls")
	for name, value := range given {
		set, known := parameters[name]
		if !known {
			return false, fmt.Errorf("DSN: parameter %q is not known; there are %s", name, strings.Join(parameterNames(), ", "))
		}
		if err := set(config, value); err != nil {
			return false, fmt.Errorf("DSN: parameter %s %w", name, err)
		}
	}
	secure = d.secure || config.TLSFiles != TLSFiles{}
	if !ok {
		return secure, nil
	}
	switch want {
	case "true":
		return true, nil
	case "false":
		if secure {
			return false, errors.New("DSN: parameter tls is false, but etcds, ca, cert, key or server_name means TLS")
		}
		return false, nil
	}
	return false, errors.New("DSN: parameter tls is neither true nor false; certificates are always verified, unless you set Config.TLS with InsecureSkipVerify")
}

// parameters are the names and values of the query.
func (d *dsn) parameters() (map[string]string, error) {
	given := make(map[string]string)
	for field := range strings.SplitSeq(d.query, "&") {
		if field == "" {
			continue
		}
		name, value, _ := strings.Cut(field, "=")
		// Not QueryUnescape, which makes spaces of the plus signs in file names.
		value, err := url.PathUnescape(value)
		switch _, twice := given[name]; {
		case err != nil:
			return nil, fmt.Errorf("DSN: parameter %q has a %% without two hex digits after it; write %% as %%25", name)
		case twice:
			return nil, fmt.Errorf("DSN: parameter %q is given twice", name)
		}
		given[name] = value
	}
	return given, nil
}

func parameterNames() []string {
	names := []string{"tls"}
	for name := range parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func setText(to *string, value string) error {
	if value == "" {
		return errors.New("is empty")
	}
	*to = value
	return nil
}

// setDuration and setCount take 0 for what zero says.
func setDuration(to *time.Duration, value string, zero time.Duration) error {
	d, err := time.ParseDuration(value)
	if value == "0" {
		d, err = 0, nil
	}
	if err != nil || d < 0 {
		return fmt.Errorf("is %q; write a duration like 500ms or 5s", value)
	}
	if duration.Forgotten(d) {
		return fmt.Errorf("is %v; the shortest is %v", d, duration.Least)
	}
	if d == 0 {
		d = zero
	}
	*to = d
	return nil
}

func setCount(to *int, value string, zero int) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return fmt.Errorf("is %q; write a number from 0 on", value)
	}
	if n == 0 {
		n = zero
	}
	*to = n
	return nil
}

// setChoice sets to the index of value among those that are known.
func setChoice(to *uint8, value string, known []string) error {
	i := slices.Index(known, value)
	if i < 0 {
		last := len(known) - 1
		return fmt.Errorf("is %q; write %s or %s", value, strings.Join(known[:last], ", "), known[last])
	}
	*to = uint8(i)
	return nil
}
