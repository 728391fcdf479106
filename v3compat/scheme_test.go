package v3compat

import (
	"crypto/tls"
	"slices"
	"testing"

	"google.golang.org/grpc/connectivity"

	"silly.store/etcd"
)

func TestSchemes(t *testing.T) {
	config := new(tls.Config)
	for _, test := range []struct {
		endpoints []string
		config    *tls.Config
		own       []string
		secure    bool
	}{
		{[]string{"a:1", "b:1"}, nil, []string{"a:1", "b:1"}, false},
		{[]string{"a:1", "http://b:1", "unix:s"}, config, []string{"a:1", "https://b:1", "unixs:s"}, true},
		{[]string{"http://a:1", "b:1", "unix:s"}, config, []string{"http://a:1", "b:1", "unix:s"}, false},
		{[]string{"http://a:1/path/", "https://b:1"}, config, []string{"http://a:1", "https://b:1"}, false},
		{[]string{"https://a:1", "b:1", "http://c:1"}, nil, []string{"https://a:1", "b:1", "https://c:1"}, true},
		{[]string{"https://a:1", "http://a:1"}, config, []string{"https://a:1"}, true},
		{[]string{"unix:///s", "unixs://t"}, config, []string{"unixs:///s", "unixs://t"}, true},
		{[]string{"a:1", "http://a:1", "https://a:1"}, config, []string{"a:1"}, true},
		{[]string{"http://a:1", "a:1"}, config, []string{"http://a:1"}, false},
		{[]string{":2379", "http://:1/", "https://:2"}, nil, []string{"localhost:2379", "http://localhost:1", "https://localhost:2"}, false},
		{[]string{":2379", "http://:1/"}, config, []string{"localhost:2379", "https://localhost:1"}, true},
		{[]string{"a:https", "b:none", "[::1]:https", "a", "a:", ""}, nil, []string{"a:443", "b:none", "[::1]:443", "a", "a:", ""}, false},
		{[]string{"http:1", "https:2"}, nil, []string{"http://http:1", "http://https:2"}, false},
		{[]string{"http:1"}, config, []string{"https://http:1"}, true},
		{[]string{"unix:a:1"}, nil, []string{"unix:a:1"}, false},
		{[]string{"unixs:s", "unix:t"}, nil, []string{"unixs:s", "unixs:t"}, true},
	} {
		schemes, own := schemesOf(test.endpoints[0], test.config)
		if got := schemes.ownAll(test.endpoints); !slices.Equal(got, test.own) || own != nil != test.secure {
			t.Errorf("%q: %q, TLS %v", test.endpoints, got, own != nil)
		}
		if test.secure && test.config != nil && own != config {
			t.Errorf("%q: the configuration is not the given one", test.endpoints)
		}
	}
	if got := asTheyAre.own("http://a:1/"); got != "http://a:1/" {
		t.Errorf("an endpoint of a wrapped client becomes %q", got)
	}
}

func TestStateOf(t *testing.T) {
	idle, connecting := etcd.EndpointStats{}, etcd.EndpointStats{State: etcd.EndpointConnecting}
	again := etcd.EndpointStats{State: etcd.EndpointConnecting, LastError: "refused"}
	down, up := etcd.EndpointStats{State: etcd.EndpointDown}, etcd.EndpointStats{State: etcd.EndpointDown, Connections: 1}
	for _, test := range []struct {
		endpoints []etcd.EndpointStats
		want      connectivity.State
	}{
		{nil, connectivity.Idle},
		{[]etcd.EndpointStats{idle, idle}, connectivity.Idle},
		{[]etcd.EndpointStats{idle, connecting}, connectivity.Connecting},
		{[]etcd.EndpointStats{connecting, down}, connectivity.TransientFailure},
		{[]etcd.EndpointStats{down, connecting}, connectivity.TransientFailure},
		{[]etcd.EndpointStats{idle, again}, connectivity.TransientFailure},
		{[]etcd.EndpointStats{down, up}, connectivity.Ready},
	} {
		if got := stateOf(test.endpoints); got != test.want {
			t.Errorf("%+v: %v, not %v", test.endpoints, got, test.want)
		}
	}
}
