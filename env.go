package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"silly.store/etcd/internal/balance"
)

// ConfigFromEnv reads a configuration from the environment variables of etcdctl,
// so that a program reaches the cluster that etcdctl does:
//
//   - ETCDCTL_ENDPOINTS: separated by commas; 127.0.0.1:2379 if it is not set
//   - ETCDCTL_DISCOVERY_SRV, ETCDCTL_DISCOVERY_SRV_NAME: see [Config.DiscoverySRV],
//     used in place of endpoints; with ETCDCTL_INSECURE_DISCOVERY=false only
//     members with TLS, whose certificates must be for the domain
//   - ETCDCTL_USER, ETCDCTL_PASSWORD: user and password, or both as user:password
//     in the first
//   - ETCDCTL_AUTH_JWT_TOKEN: a token in their place
//   - ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY: see [TLSFiles]
//   - ETCDCTL_INSECURE_TRANSPORT: false means TLS also without these files
//   - ETCDCTL_COMMAND_TIMEOUT, ETCDCTL_DIAL_TIMEOUT: see [Config.Timeout], which
//     bounds one attempt and not all, and [Config.DialTimeout]
//   - ETCDCTL_MAX_RECV_BYTES: see [Config.MaxResponseBytes]
//
// A variable that is empty is as good as not set. Those about etcdctl itself
// (ETCDCTL_API=3, ETCDCTL_DEBUG, ETCDCTL_HEX, ETCDCTL_WRITE_OUT and
// ETCDCTL_WATCH_…) mean nothing to a client. All others are errors, unless they
// have no effect here: no variable that could matter is ignored.
//
// ETCDCTL_INSECURE_SKIP_TLS_VERIFY=true is an error. To verify no certificates,
// set [Config.TLS] yourself.
//
// Errors: ErrInvalidConfig; the text names the variable and shows no password.
func ConfigFromEnv() (Config, error) {
	config, err := configFromEnv(os.Environ())
	if err != nil {
		return Config{}, invalidConfig("ConfigFromEnv", err)
	}
	return config, nil
}

const envPrefix = "ETCDCTL_"

// variables says what each variable without its prefix does. Some are read
// together with others, below.
var variables = map[string]func(c *Config, value string) error{
	"ENDPOINTS":       setEnvEndpoints,
	"CACERT":          func(c *Config, v string) error { return setText(&c.TLSFiles.CA, v) },
	"CERT":            func(c *Config, v string) error { return setText(&c.TLSFiles.Cert, v) },
	"KEY":             func(c *Config, v string) error { return setText(&c.TLSFiles.Key, v) },
	"COMMAND_TIMEOUT": func(c *Config, v string) error { return setDuration(&c.Timeout, v, 0) },
	"DIAL_TIMEOUT":    func(c *Config, v string) error { return setDuration(&c.DialTimeout, v, 0) },
	"MAX_RECV_BYTES":  func(c *Config, v string) error { return setCount(&c.MaxResponseBytes, v, 0) },

	"USER": nil, "PASSWORD": nil, "AUTH_JWT_TOKEN": nil,
	"INSECURE_TRANSPORT": nil, "INSECURE_SKIP_TLS_VERIFY": nil,

	"API":                mustBe("3", "this client speaks version 3 only"),
	"KEEPALIVE_TIME":     refuse("this client finds dead connections by itself; unset it"),
	"KEEPALIVE_TIMEOUT":  refuse("this client finds dead connections by itself; unset it"),
	"MAX_REQUEST_BYTES":  refuse("this client leaves the limit to the server; unset it"),
	"INSECURE_DISCOVERY": nil,
	"DISCOVERY_SRV":      func(c *Config, v string) error { return setText(&c.DiscoverySRV, v) },
	"DISCOVERY_SRV_NAME": func(c *Config, v string) error { return setText(&c.DiscoverySRVName, v) },

	// Of etcdctl's own.
	"DEBUG": nil, "HEX": nil, "WRITE_OUT": nil,
	"WATCH_KEY": nil, "WATCH_RANGE_END": nil, "WATCH_PROGRESS_NOTIFY_INTERVAL": nil,
}

func mustBe(want, why string) func(*Config, string) error {
	return func(_ *Config, value string) error {
		if value != want {
			return fmt.Errorf("is %q; %s", value, why)
		}
		return nil
	}
}

func refuse(why string) func(*Config, string) error {
	return func(*Config, string) error { return errors.New("is set; " + why) }
}

func configFromEnv(environ []string) (config Config, err error) {
	env := make(map[string]string)
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if name, ok := strings.CutPrefix(name, envPrefix); ok && value != "" {
			env[name] = value
		}
	}
	switch {
	case env["DISCOVERY_SRV"] != "":
		delete(env, "ENDPOINTS") // etcdctl's come second too
	case env["ENDPOINTS"] == "":
		config.Endpoints = []string{"127.0.0.1:" + defaultPort}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		set, known := variables[name]
		if !known {
			return config, fmt.Errorf("%s%s is not known; unset it, or correct its name", envPrefix, name)
		}
		if set == nil {
			continue
		}
		if err := set(&config, env[name]); err != nil {
			return config, fmt.Errorf("%s%s %w", envPrefix, name, err)
		}
	}
	if err := setEnvUser(&config, env); err != nil {
		return config, err
	}
	return config, setEnvTLS(&config, env)
}

func setEnvEndpoints(c *Config, value string) error {
	if strings.Contains(value, "@") {
		// Without the value: no error may show a password.
		return errors.New("has an @ in it; put the user and the password into ETCDCTL_USER and ETCDCTL_PASSWORD")
	}
	for i, s := range strings.Split(value, ",") {
		s = strings.TrimSpace(s)
		switch _, err := balance.ParseEndpoint(s, nil); {
		case balance.IsList(err):
			return fmt.Errorf("(number %d) %q holds more than one endpoint; write a comma between two", i+1, s)
		case s == "" && len(value) > 0:
			return fmt.Errorf("(number %d) is empty; there is a comma too many", i+1)
		case err != nil:
			return fmt.Errorf("(number %d) %w", i+1, err)
		}
		c.Endpoints = append(c.Endpoints, s)
	}
	return nil
}

// setEnvUser does as etcdctl: a user name with a colon is one without a password
// only when the password has its own variable.
func setEnvUser(c *Config, env map[string]string) error {
	user, password, token := env["USER"], env["PASSWORD"], env["AUTH_JWT_TOKEN"]
	if password == "" {
		user, password, _ = strings.Cut(user, ":")
	}
	switch {
	case token != "" && user+password != "":
		return errors.New("ETCDCTL_AUTH_JWT_TOKEN is set, and so is ETCDCTL_USER or ETCDCTL_PASSWORD; use one or the other")
	case token != "":
		c.Credentials = func(context.Context) (Credentials, error) { return Credentials{Token: token}, nil }
	case user == "" && password != "":
		return errors.New("ETCDCTL_PASSWORD is set without a user in ETCDCTL_USER")
	case user != "" && password == "":
		return errors.New("ETCDCTL_USER is set without a password; set ETCDCTL_PASSWORD too, or write user:password")
	}
	c.Username, c.Password = user, password
	return nil
}

func setEnvTLS(c *Config, env map[string]string) error {
	skip, err := envBool(env, "INSECURE_SKIP_TLS_VERIFY", false)
	if err != nil {
		return err
	}
	if skip {
		return errors.New("ETCDCTL_INSECURE_SKIP_TLS_VERIFY is true; to verify no certificates set Config.TLS to &tls.Config{InsecureSkipVerify: true} yourself, and unset it")
	}
	plain, err := envBool(env, "INSECURE_TRANSPORT", true)
	if err != nil {
		return err
	}
	anyRecord, err := envBool(env, "INSECURE_DISCOVERY", true)
	if err != nil {
		return err
	}
	if !anyRecord && c.DiscoverySRV != "" {
		c.TLSFiles.ServerName = c.DiscoverySRV
	}
	if !plain && c.TLSFiles == (TLSFiles{}) {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return nil
}

func envBool(env map[string]string, name string, unset bool) (bool, error) {
	value := env[name]
	if value == "" {
		return unset, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%s%s is %q; write true or false", envPrefix, name, value)
	}
	return b, nil
}
