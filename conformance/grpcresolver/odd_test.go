package grpcresolver

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/resolver"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
)

// Every target names its service as gRPC reads it, or says what is wrong with it.
func TestTargets(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	b, err := grpcresolver.NewBuilder(c, discovery.WatchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for text, service := range map[string]string{
		"etcd:///" + name:                   name,
		"etcd:" + name:                      name,
		"etcd:/" + name:                     name,
		"etcd:////services/" + name:         "/services/" + name,
		"etcd:///" + name + "/v2":           name + "/v2",
		"etcd:///" + name + "%20x%2Fy%FF":   name + " x/y\xff",
		"etcd:///" + name + "/%00":          name + "/\x00",
		"etcd:///":                          "",
		"etcd:":                             "",
		"etcd:///" + name + "/":             "",
		"etcd:" + name + "/":                "",
		"etcd://127.0.0.1:2379/" + name:     "",
		"etcd://user@/" + name:              "",
		"etcd:///" + name + "?weight=1":     "",
		"etcd:///" + name + "#first":        "",
		"etcd://" + strings.ToLower("etcd"): "",
	} {
		t.Run(text, func(t *testing.T) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			s := make(states, 100)
			r, err := b.Build(resolver.Target{URL: *u}, s, resolver.BuildOptions{})
			if service == "" {
				if err == nil {
					r.Close()
				}
				if !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			<-s // as it is
			if _, err := c.Put(t.Context(), etcd.PutRequest{Key: service + "/i", Value: []byte(`{"Addr":"1"}`)}); err != nil {
				t.Fatal(err)
			}
			for st := range s {
				if says(st) == "i=1/<nil>/0" {
					break
				}
			}
		})
	}
}

// A target that is refused is so by the first call: grpc.NewClient resolves nothing yet.
func TestRefusedTargets(t *testing.T) {
	t.Parallel()
	conn := dialTarget(t, testbed.Connect(t, etcd.Config{}), "etcd://127.0.0.1:2379/"+testbed.OwnName(t), "round_robin")
	if _, err := call(testbed.Within(t, testbed.Patience), conn); err == nil || !strings.Contains(err.Error(), "it has a host") {
		t.Errorf("the error is %v", err)
	}
}

// Values that are no instance change nothing, and a key that gets such a value is none from
// then on. Weights that are none are left out.
func TestOddValues(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	put := func(id, value string) {
		t.Helper()
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/" + id, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	put("good", `{"Addr":"1"}`)
	s := resolve(t, c, name)
	if got := says(<-s); got != "good=1/<nil>/0" {
		t.Fatalf("%q", got)
	}
	for _, value := range []string{
		"", "null", "{", `{}`, `[]`, `"127.0.0.1:80"`, "127.0.0.1:80", "\xff\xfe", `{"Addr":12}`, `{"Addr":""}`, `{"Op":1,"Addr":"9"}`,
		`{"Op":-1,"Addr":"9"}`, strings.Repeat(`{"Metadata":`, 20_000), strings.Repeat("[", 20_000),
	} {
		put("odd", value)
	}
	put("a/b", `{"Addr":"2"}`) // of another service
	put("good", `{`)
	if got := says(<-s); got != "" {
		t.Errorf("%q", got)
	}
	for _, weight := range []string{"0", "-1", "1.5", "1e99", `"x"`, "null", "[]", "4294967296"} {
		put("odd", `{"Addr":"3","Metadata":{"weight":`+weight+`}}`)
		if got := says(<-s); !strings.HasPrefix(got, "odd=3/") || !strings.HasSuffix(got, "/0") {
			t.Errorf("weight %s: %q", weight, got)
		}
	}
	put("odd", `{"Addr":"3","Metadata":{"weight":"4294967295"}}`)
	if got := says(<-s); got != "odd=3/map[weight:4294967295]/4294967295" {
		t.Errorf("%q", got)
	}
}
