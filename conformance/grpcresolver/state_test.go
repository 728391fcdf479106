package grpcresolver

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
)

// states is gRPC's side of a resolver: it records what it gets.
type states chan resolver.State

func (s states) UpdateState(st resolver.State) error {
	s <- st
	return nil
}
func (s states) ReportError(err error) {
	if !strings.Contains(err.Error(), "has no instances") {
		panic(err)
	}
}
func (s states) NewAddress([]resolver.Address) {}
func (s states) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return nil
}

// resolve builds a resolver of a service.
func resolve(t testing.TB, c *etcd.Client, service string) states {
	t.Helper()
	b, err := grpcresolver.NewBuilder(c, discovery.WatchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := make(states, 10_000)
	r, err := b.Build(resolver.Target{URL: url.URL{Scheme: "etcd", Path: "/" + service}}, s, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return s
}

// says is a state in a form to compare.
func says(st resolver.State) string {
	var out []string
	for _, e := range st.Endpoints {
		i, ok := grpcresolver.FromEndpoint(e)
		if !ok || len(e.Addresses) != 1 || e.Addresses[0].Addr != i.Addr {
			return "an endpoint without its instance"
		}
		out = append(out, fmt.Sprintf("%s=%s/%v/%d", i.ID, i.Addr, i.Metadata, weight.FromEndpoint(e).Weight))
	}
	return strings.Join(out, " ")
}

// Endpoints are in the order of the IDs, with weight and metadata; an address is there once.
func TestState(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	s := resolve(t, c, name)
	if got := says(<-s); got != "" {
		t.Errorf("without instances: %q", got)
	}
	for _, step := range []struct{ id, value, want string }{
		{"b", `{"Addr":"2"}`, "b=2/<nil>/0"},
		{"a", `{"Addr":"1","Metadata":{"weight":5}}`, "a=1/map[weight:5]/5 b=2/<nil>/0"},
		{"c", `{"Addr":"2"}`, "a=1/map[weight:5]/5 b=2/<nil>/0"},
		{"b", `{"Addr":"2","Metadata":"x"}`, "a=1/map[weight:5]/5 b=2/x/0"},
	} {
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/" + step.id, Value: []byte(step.value)}); err != nil {
			t.Fatal(err)
		}
		if got := says(<-s); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
}

// An instance is out of the set at most 50 ms after its key is gone, and 1,000 instances are
// there in 20 ms. The best of nine counts: other load on the machine is not the resolver's.
func TestPromptness(t *testing.T) {
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	const instances = 1000
	var ops []etcd.Op
	for i := range instances {
		ops = append(ops, etcd.PutRequest{Key: fmt.Sprintf("%s/%04d", name, i), Value: fmt.Appendf(nil, `{"Addr":"10.0.0.1:%d","Metadata":{"weight":%d}}`, i, i)})
	}
	if err := c.Batch(t.Context(), ops...).Err(); err != nil {
		t.Fatal(err)
	}
	var resolved, gone []time.Duration
	for n := range 9 {
		begun := time.Now()
		s := resolve(t, c, name)
		if st := <-s; len(st.Endpoints) != instances-n {
			t.Fatalf("%d endpoints, want %d", len(st.Endpoints), instances-n)
		}
		resolved = append(resolved, time.Since(begun))
		begun = time.Now()
		if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: fmt.Sprintf("%s/%04d", name, n)}); err != nil {
			t.Fatal(err)
		}
		if st := <-s; len(st.Endpoints) != instances-n-1 {
			t.Fatalf("%d endpoints, want %d", len(st.Endpoints), instances-n-1)
		}
		gone = append(gone, time.Since(begun))
	}
	slices.Sort(resolved)
	slices.Sort(gone)
	t.Logf("resolved in %v to %v, median %v; gone after %v to %v, median %v",
		resolved[0], resolved[len(resolved)-1], resolved[len(resolved)/2], gone[0], gone[len(gone)-1], gone[len(gone)/2])
	slack := time.Duration(1)
	if raceEnabled {
		slack = 10
	}
	if d := resolved[0]; d > slack*20*time.Millisecond {
		t.Errorf("%d instances are resolved after %v", instances, d)
	}
	if d := gone[0]; d > slack*50*time.Millisecond {
		t.Errorf("an instance is out of the set %v after its key is gone", d)
	}
}
