package balance

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	plain, secure := (*tls.Config)(nil), &tls.Config{}
	named := &tls.Config{ServerName: "etcd.internal"}
	cases := []struct {
		in         string
		config     *tls.Config
		network    string
		address    string
		authority  string
		serverName string // with TLS
	}{
		{"127.0.0.1:2379", plain, "tcp", "127.0.0.1:2379", "127.0.0.1:2379", ""},
		{"etcd:2379", secure, "tcp", "etcd:2379", "etcd:2379", "etcd"},
		{"etcd:2379", named, "tcp", "etcd:2379", "etcd:2379", "etcd.internal"},
		{"http://etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"http://etcd:2379/", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"https://etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", "etcd"},
		{"https://etcd:2379", named, "tcp", "etcd:2379", "etcd:2379", "etcd.internal"},
		{"[::1]:2379", plain, "tcp", "[::1]:2379", "[::1]:2379", ""},
		{"https://[fe80::1]:1", secure, "tcp", "[fe80::1]:1", "[fe80::1]:1", "fe80::1"},
		{"etcd:65535", plain, "tcp", "etcd:65535", "etcd:65535", ""},
		{"unix:///run/etcd.sock", plain, "unix", "/run/etcd.sock", "localhost", ""},
		{"unix://relative.sock", secure, "unix", "relative.sock", "localhost", ""},
		{"unixs:///run/etcd.sock", plain, "unix", "/run/etcd.sock", "localhost", "localhost"},
		// What has one meaning.
		{"unix:/run/etcd.sock", plain, "unix", "/run/etcd.sock", "localhost", ""},
		{"unix:etcd.sock", plain, "unix", "etcd.sock", "localhost", ""},
		{"unix://localhost:m0", plain, "unix", "localhost:m0", "localhost", ""},
		{"unix:///run/a, b; c@d", plain, "unix", "/run/a, b; c@d", "localhost", ""},
		{"unixs:/run/etcd.sock", plain, "unix", "/run/etcd.sock", "localhost", "localhost"},
		{"http:/etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"http:etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"http:///etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"https:/etcd:2379/", plain, "tcp", "etcd:2379", "etcd:2379", "etcd"},
		{"https:[::1]:2379", plain, "tcp", "[::1]:2379", "[::1]:2379", "::1"},
		{"HTTPS://etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", "etcd"},
		{"https//etcd:2379", plain, "tcp", "etcd:2379", "etcd:2379", "etcd"},
		{"http//etcd:2379/", plain, "tcp", "etcd:2379", "etcd:2379", ""},
		{"http://http:2379", plain, "tcp", "http:2379", "http:2379", ""},
		{"[127.0.0.1]:2379", plain, "tcp", "127.0.0.1:2379", "127.0.0.1:2379", ""},
		// A zone is for the dialer only.
		{"[fe80::1%eth0]:2379", plain, "tcp", "[fe80::1%eth0]:2379", "[fe80::1]:2379", ""},
		{"[fe80::1%25eth0]:2379", plain, "tcp", "[fe80::1%eth0]:2379", "[fe80::1]:2379", ""},
		{"https://[fe80::1%25eth0]:1", plain, "tcp", "[fe80::1%eth0]:1", "[fe80::1]:1", "fe80::1"},
		{"fe80::1%eth0:2379", plain, "tcp", "[fe80::1%eth0]:2379", "[fe80::1]:2379", ""},
		{"https://fe80::1%25eth0:1", plain, "tcp", "[fe80::1%eth0]:1", "[fe80::1]:1", "fe80::1"},
		{"[fe80::1%25]:1", plain, "tcp", "[fe80::1%25]:1", "[fe80::1]:1", ""},
	}
	for _, c := range cases {
		e, err := ParseEndpoint(c.in, c.config)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if e.Name != c.in || e.Target.Network != c.network || e.Target.Address != c.address || e.Target.Authority != c.authority {
			t.Errorf("%q: %+v", c.in, e)
		}
		if (e.Target.TLS != nil) != (c.serverName != "") {
			t.Errorf("%q: TLS is %v", c.in, e.Target.TLS)
		} else if e.Target.TLS != nil && e.Target.TLS.ServerName != c.serverName {
			t.Errorf("%q: server name %q, want %q", c.in, e.Target.TLS.ServerName, c.serverName)
		}
		if e.Target.TLS != nil && e.Target.TLS == c.config {
			t.Errorf("%q: the user's TLS configuration is shared", c.in)
		}
	}
	if secure.ServerName != "" {
		t.Error("the user's TLS configuration was changed")
	}
}

func TestParseEndpointErrors(t *testing.T) {
	cases := []struct {
		in     string
		config *tls.Config
		text   string
	}{
		{"", nil, "is empty"},
		{" etcd:2379", nil, "spaces around"},
		{"etcd:2379\n", nil, "spaces around"},
		{"ftp://etcd:2379", nil, `has the scheme "ftp"`},
		{"://etcd:2379", nil, "has no scheme"},
		{"etcd", nil, "has no port; etcd's client port is usually 2379"},
		{"http://etcd", nil, "has no port"},
		{"etcd:", nil, "has no port"},
		{":2379", nil, "has no host"},
		{"http://", nil, "has no host"},
		{"etcd:port", nil, "has a port that is not a number"},
		{"etcd:0", nil, "has the port 0"},
		{"etcd:65536", nil, "has the port 65536"},
		{"etcd:-1", nil, "has a port that is not a number"},
		{"etcd:+1", nil, "has a port that is not a number"},
		{"etcd:99999999999999999999", nil, "which is not in 1-65535"},
		{"a:1,b:2", nil, "more than one endpoint"},
		{"http://a:1,http://b:2", nil, "more than one endpoint"},
		{"http://a:1, http://b:2", nil, "more than one endpoint"},
		{"a:1;b:2", nil, "more than one endpoint"},
		{"a:1 b:2", nil, "more than one endpoint"},
		{"a:1\nb:2", nil, "more than one endpoint"},
		{"a,b:2", nil, "more than one endpoint"},
		{"unix:///a,unix:///b", nil, "more than one endpoint"},
		{"unix:/a unixs:/b", nil, "more than one endpoint"},
		{"unix:2379", nil, "may be a socket or a port of a host"},
		{"unix:", nil, "has no path"},
		{"/run/etcd.sock", nil, "is a path; write host:port, or unix:///"},
		{"//etcd:2379", nil, "is a path"},
		{"[::1:2379", nil, "has a bracket [ without its ]"},
		{"https://[::1:2379", nil, "has a bracket [ without its ]"},
		{"::1]:2379", nil, "has a bracket ] without its ["},
		{"[::1]2379", nil, "between the bracket ] and the port"},
		{"[::1]", nil, "has no port"},
		{"[]:1", nil, "has no host"},
		{"[etcd]:1", nil, "has no IP address between its brackets"},
		{"[fe80::1%]:1", nil, "has no IP address between its brackets"},
		{"fe80::1%eth0", nil, "has an IPv6 address without brackets; write [fe80::1%eth0]:2379"},
		{"fe80::1%eth0:x", nil, "has a port that is not a number"},
		{"::1:2379", nil, "has an IPv6 address without brackets; write [::1]:2379, or [::1:2379]:2379 if all of it is the address"},
		{"2001:db8::abcd", nil, "has an IPv6 address without brackets; write [2001:db8::abcd]:2379"},
		{"1:2:3:4:5:6:7:8:2379", nil, "has an IPv6 address without brackets; write [1:2:3:4:5:6:7:8]:2379"},
		{"http:2379", nil, "has no host, or is a port of a host of that name; write http://host:2379 or http://http:2379"},
		{"HTTPS:1", nil, "has no host, or is a port of a host of that name; write HTTPS://host:1 or http://HTTPS:1"},
		{"https//etcd", nil, "has no port; etcd's client port is usually 2379"},
		{"https//", nil, "has no host"},
		{"unix//run/etcd.sock", nil, "has no colon behind unix; write unix:///run/etcd.sock"},
		{"http://http://etcd:2379", nil, "has its scheme twice"},
		{"etcd//2379", nil, "has a path or query"},
		{"etcd:2379:2380", nil, "more than one colon"},
		{"etcd%41:2379", nil, "cannot be parsed"},
		{"etcd\x00:2379", nil, "cannot be parsed"},
		{"http:etcd", nil, "has a port that is not a number"},
		{"unixer:secret@etcd:1", nil, "user or password"},
		{"HTTP://etcd:1", &tls.Config{}, "is plain text though Config.TLS is set"},
		{"et cd:2379", nil, "cannot be parsed"},
		{"etcd:2379/path", nil, "has a path or query"},
		{"http://etcd:2379?x=1", nil, "has a path or query"},
		{"http://etcd:2379#x", nil, "has a path or query"},
		{"http://root:secret@etcd:2379", nil, "user or password"},
		{"root:se%cret@etcd:2379", nil, "user or password"},
		{"root:secret@etcd", nil, "user or password"},
		{"ftp://root:secret@etcd:1", nil, ""},
		{"http://root:secret@etcd:1 ", nil, ""},
		{"unix://", nil, "has no path"},
		{"http://etcd:2379", &tls.Config{}, "is plain text though Config.TLS is set"},
	}
	for _, c := range cases {
		_, err := ParseEndpoint(c.in, c.config)
		if err == nil {
			t.Errorf("%q is accepted", c.in)
			continue
		}
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %q, want %q in it", c.in, err, c.text)
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "se%cret") {
			t.Errorf("%q: the error shows the password: %v", c.in, err)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"etcd:2379", "https://[::1]:1", "unix:///x", "http://a:b@c:1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := ParseEndpoint(in, nil)
		if err != nil {
			return
		}
		if strings.ContainsAny(in, ",") && e.Target.Network == "tcp" {
			t.Errorf("%q is one endpoint: %+v", in, e)
		}
		if _, _, err := net.SplitHostPort(e.Target.Address); err != nil && e.Target.Network == "tcp" {
			t.Errorf("%q: the address %q: %v", in, e.Target.Address, err)
		}
		if e.Name != in || e.Target.Address == "" || e.Target.Authority == "" {
			t.Errorf("%q: %+v", in, e)
		}
	})
}
