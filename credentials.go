package etcd

import (
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"
)

// Credentials say who a client is: a user's name and password, for which the
// server is asked for a token, or a token that somebody else has issued.
//
// It prints, and is logged and encoded as JSON, without Password and Token.
type Credentials struct {
	// Username and Password are those of a user of etcd's.
	Username string
	Password string `json:"-"`
	// Token is a JWT for a cluster that knows the issuer's key. It is sent as it
	// is; Username and Password must then be empty.
	Token string `json:"-"`
}

// check returns what is wrong with the credentials, without showing them.
func (c Credentials) check() error {
	switch {
	case c.Token != "" && (c.Username != "" || c.Password != ""):
		return errors.New("Token is set, and so is Username or Password; use one or the other")
	case c.Token != "":
		return checkToken(c.Token)
	case c.Username == "" && c.Password == "":
		return errors.New("Username and Token are both empty")
	}
	return checkUser(c.Username, c.Password)
}

// checkUser begins its errors with the field's name.
func checkUser(username, password string) error {
	switch {
	case username == "":
		return errors.New("Username is empty, but Password is set")
	case password == "":
		return errors.New("Password is empty, but Username is set; users without a password show a client certificate and need neither")
	case !utf8.ValidString(username):
		return errors.New("Username is not valid UTF-8")
	case !utf8.ValidString(password):
		return errors.New("Password is not valid UTF-8")
	}
	return nil
}

// checkToken: it is sent as a header.
func checkToken(token string) error {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("Token has a byte at %d that is no printable ASCII; was it read from a file with its end of line?", i)
		}
	}
	return nil
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
