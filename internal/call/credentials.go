package call

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Credentials identify the client, as etcd.Credentials do.
type Credentials struct {
	Username, Password, Token string
}

// Check returns an error if the credentials are invalid. The error does not contain
// them.
func (c Credentials) Check() error {
	switch {
	case c.Token != "" && (c.Username != "" || c.Password != ""):
		return errors.New("Token is set together with Username or Password; use one or the other")
	case c.Token != "":
		return checkToken(c.Token)
	case c.Username == "" && c.Password == "":
		return errors.New("Username and Token are both empty")
	}
	return CheckUser(c.Username, c.Password)
}

// CheckUser checks a user name and password. Its errors begin with the field's
// name.
func CheckUser(username, password string) error {
	switch {
	case username == "":
		return errors.New("Username is empty, but Password is set")
	case password == "":
		return errors.New("Password is empty, but Username is set; users without a password authenticate with a client certificate and need neither")
	case !utf8.ValidString(username):
		return errors.New("Username is not valid UTF-8")
	case !utf8.ValidString(password):
		return errors.New("Password is not valid UTF-8")
	}
	return nil
}

// checkToken checks that a token can be sent as a header.
func checkToken(token string) error {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("Token has a byte at %d that is not printable ASCII; was it read from a file together with the newline?", i)
		}
	}
	return nil
}
