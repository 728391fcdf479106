package etcd

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

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

// TestShortDurationsInText: a DSN and the environment write units, so nothing is guessed.
func TestShortDurationsInText(t *testing.T) {
	for name := range parameters {
		if _, err := ParseDSN("etcd://host/?" + name + "=5s"); err != nil {
			continue // not a duration
		}
		if _, err := ParseDSN("etcd://host/?" + name + "=text"); err == nil {
			continue // anything
		}
		_, err := ParseDSN("etcd://host/?" + name + "=5ns")
		if want := "parameter " + name + " is 5ns; the shortest is 1ms"; err == nil || !strings.Contains(err.Error(), want) {
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
		if want := envPrefix + name + " is 7µs; the shortest is 1ms"; err == nil || !strings.Contains(err.Error(), want) {
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
