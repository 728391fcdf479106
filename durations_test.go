package etcd

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestCheckDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1:                      "X is 1ns; did you mean 1 * time.Second?",
		90:                     "X is 90ns; did you mean 90 * time.Second?",
		5000:                   "X is 5µs; did you mean 5000 * time.Millisecond?",
		500 * time.Microsecond: "X is 500µs; the shortest is 1ms",
		time.Millisecond:       "",
		time.Hour:              "",
		0:                      "",
		-1:                     "",
	} {
		got := ""
		if err := checkDuration("X", d); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

// TestForgottenUnits: every duration of Config, also one that is added some day.
func TestForgottenUnits(t *testing.T) {
	fields := reflect.TypeFor[Config]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		if f.Type != reflect.TypeFor[time.Duration]() {
			continue
		}
		config := Config{Endpoints: []string{"localhost:2379"}}
		reflect.ValueOf(&config).Elem().Field(i).SetInt(1)
		c, err := New(config)
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: 1 is accepted", f.Name)
			continue
		}
		want := "Config." + f.Name + " is 1ns; did you mean 1 * time.Second?"
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
		reflect.ValueOf(&config).Elem().Field(i).SetInt(int64(time.Millisecond))
		if c, err = New(config); err != nil {
			t.Errorf("a millisecond: %v", err)
			continue
		}
		_ = c.Close()
	}
}

// TestForgottenUnitsInText: the same in a DSN and in the environment.
func TestForgottenUnitsInText(t *testing.T) {
	for name := range parameters {
		if _, err := ParseDSN("etcd://host/?" + name + "=5s"); err != nil {
			continue // not a duration
		}
		if _, err := ParseDSN("etcd://host/?" + name + "=text"); err == nil {
			continue // anything
		}
		_, err := ParseDSN("etcd://host/?" + name + "=5ns")
		if want := "parameter " + name + " is 5ns; did you mean 5s?"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	for name := range variables {
		if _, err := configFromEnv([]string{envPrefix + name + "=5s"}); err != nil {
			continue
		}
		if _, err := configFromEnv([]string{envPrefix + name + "=text"}); err == nil {
			continue
		}
		_, err := configFromEnv([]string{envPrefix + name + "=7us"})
		if want := envPrefix + name + " is 7µs; did you mean 7s?"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// A lease of five nanoseconds was granted for a second.
func TestGrantRefusesForgottenUnits(t *testing.T) {
	c, m := scriptedBy(t, Config{}, ok)
	_, err := c.Grant(t.Context(), GrantRequest{TTL: 5})
	if !errors.Is(err, ErrInvalidRequest) || !strings.Contains(err.Error(), "GrantRequest.TTL is 5ns; did you mean 5 * time.Second?") {
		t.Errorf("error %v", err)
	}
	if n := m.Counts().Calls; n != 0 {
		t.Errorf("%d calls were sent", n)
	}
}
