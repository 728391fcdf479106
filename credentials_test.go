package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCredentialsConfig(t *testing.T) {
	ask := func(context.Context) (Credentials, error) { return Credentials{}, nil }
	for want, config := range map[string]Config{
		"Config.Password is empty":       {Username: "u"},
		"Config.Username is empty":       {Password: "secret"},
		"Config.Username is not valid":   {Username: "u\xff", Password: "secret"},
		"Config.Password is not valid":   {Username: "u", Password: "secret\xff"},
		"Config.Credentials is set, and": {Username: "u", Password: "secret", Credentials: ask},
	} {
		config.Endpoints = []string{"127.0.0.1:1"}
		_, err := New(config)
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
}

// However they are printed or logged, secrets are not in it.
func TestSecretsAreHidden(t *testing.T) {
	config := Config{Endpoints: []string{"127.0.0.1:1"}, Username: "name", Password: "secret"}
	credentials := Credentials{Username: "name", Password: "secret"}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	values := []any{config, &config, credentials, &credentials, []Credentials{credentials}, Credentials{Token: "secret"}, c}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%+q"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "secret") || strings.Contains(out, fmt.Sprintf("%x", "secret")) {
				t.Errorf("%s prints %s", verb, out)
			}
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("made", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "value", v)
		if strings.Contains(log.String(), "secret") {
			t.Errorf("logged %s", log.String())
		}
	}
	if out := fmt.Sprintf("%+v", config); !strings.Contains(out, "Username:name Password:(hidden)") {
		t.Errorf("printed %s", out)
	}
}
