package etcd

import (
	"context"
	"fmt"
	"log/slog"

	"silly.store/etcd/internal/call"
)

// Credentials identify a client: a user's name and password, which the client exchanges
// for a token at the server, or a token from another issuer.
//
// Credentials print, log and encode as JSON without Password and Token.
type Credentials struct {
	// Username and Password name an etcd user.
	Username string
	Password string `json:"-"`
	// Token is a JWT for a cluster that knows the issuer's key. The client sends it
	// unchanged; Username and Password must then be empty.
	Token string `json:"-"`
}

// credentials is how the engine obtains the client's credentials; nil means that it has
// none. fixed: they are always the same.
func (c *Config) credentials() (source func(context.Context) (call.Credentials, error), fixed bool) {
	if c.Username != "" {
		user := call.Credentials{Username: c.Username, Password: c.Password}
		return func(context.Context) (call.Credentials, error) { return user, nil }, true
	}
	if c.Credentials == nil {
		return nil, false
	}
	ask := c.Credentials
	return func(ctx context.Context) (call.Credentials, error) {
		given, err := ask(ctx)
		return call.Credentials(given), err
	}, false
}

// authenticates reports whether the servers may know the client by a name, and so give it
// permissions.
func (c *Config) authenticates() bool {
	return c.Username != "" || c.Credentials != nil || c.TLSFiles.Cert != "" ||
		c.TLS != nil && (len(c.TLS.Certificates) > 0 || c.TLS.GetClientCertificate != nil)
}

// hidden stands for a secret that is set.
const hidden = "(hidden)"

func hide(secret *string) {
	if *secret != "" {
		*secret = hidden
	}
}

// Format prints the credentials without Password and Token.
func (c Credentials) Format(f fmt.State, verb rune) {
	type plain Credentials
	p := plain(c)
	hide(&p.Password)
	hide(&p.Token)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Format prints the configuration without Password.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	p := plain(c)
	hide(&p.Password)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// LogValue logs the configuration without Password.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", c)) }
