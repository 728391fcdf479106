//go:build proxies

package client

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// The client behind nginx and HAProxy, where these are installed: make test-proxies.
// What they do that matters is tested without them too, with proxies of etcdtest's.

// proxyProgram runs a proxy on a configuration file until the test ends, and waits until
// it listens at address. config makes the file's text, given a directory for its files.
func proxyProgram(t *testing.T, name, address string, args func(file string) []string, config func(dir string) string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; install the Debian package %s", err, name)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(file, []byte(config(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(path, args(file)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	eventually(t, name+" to listen", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, log.String())
		default:
		}
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// freeAddress is one of loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// nginx runs nginx in front of a member, with more directives for its server, and
// returns its endpoint.
func nginx(t *testing.T, member, ofHTTP, ofServer string) string {
	t.Helper()
	return nginxOf(t, "http2", member, ofHTTP, ofServer)
}

// nginxOf is nginx with that protocol; "" is HTTP/1.
func nginxOf(t *testing.T, protocol, member, ofHTTP, ofServer string) string {
	t.Helper()
	address := freeAddress(t)
	proxyProgram(t, "nginx", address, func(file string) []string { return []string{"-c", file, "-e", "stderr"} }, func(dir string) string {
		return fmt.Sprintf(`
			daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
			events {}
			http {
				access_log off;
				client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
				uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
				%[4]s
				server {
					listen %[2]s %[6]s;
					%[5]s
					location / { grpc_pass grpc://%[3]s; grpc_read_timeout 1h; grpc_send_timeout 1h; }
				}
			}`, dir, address, member, ofHTTP, ofServer, protocol)
	})
	return "http://" + address
}

// haproxy runs HAProxy in front of members, and returns its endpoint. The mode is tcp, http
// or http1, which is http without HTTP/2.
func haproxy(t *testing.T, mode string, members ...string) string {
	t.Helper()
	address := freeAddress(t)
	proto, option := "", ""
	switch mode {
	case "http":
		proto = "proto h2"
	case "http1":
		mode, option = "http", " option disable-h2-upgrade\n"
	}
	proxyProgram(t, "haproxy", address, func(file string) []string { return []string{"-db", "-f", file} }, func(string) string {
		config := fmt.Sprintf("defaults\n mode %s\n timeout connect 2s\n timeout client 1h\n timeout server 1h\n timeout tunnel 1h\nlisten etcd\n bind %s %s\n balance roundrobin\n%s", mode, address, proto, option)
		for i, m := range members {
			config += fmt.Sprintf(" server etcd%d %s %s\n", i, m, proto)
		}
		return config
	})
	return "http://" + address
}

func TestNginxFewRequests(t *testing.T) {
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	for _, requests := range []int{1, 2, 100} {
		t.Run(fmt.Sprint(requests), func(t *testing.T) {
			var endpoints []string
			for _, m := range cluster.Members()[:2] {
				endpoints = append(endpoints, nginx(t, m.Addr(), "", fmt.Sprintf("keepalive_requests %d;", requests)))
			}
			fewRequests(t, connect(t, etcd.Config{Endpoints: endpoints}))
		})
	}
}

func TestNginxStatuses(t *testing.T) {
	small := connect(t, etcd.Config{Endpoints: []string{nginx(t, testbed.Shared.Addr(), "", "client_max_body_size 1k;")}})
	_, err := small.Put(within(t, 10*time.Second), etcd.PutRequest{Key: "k", Value: make([]byte, 10_000)})
	wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeNotSent)
	mustSay(t, err, "nginx: client_max_body_size")
	put(t, small, ownKeys(t), "v") // the connection, or the next one, is none the worse

	limited := connect(t, etcd.Config{
		Endpoints:  []string{nginx(t, testbed.Shared.Addr(), "limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m; limit_req_status 429;", "limit_req zone=all;")},
		RetrySleep: 10 * time.Millisecond,
	})
	get(t, limited, etcd.GetRequest{Key: "k"})
	_, err = limited.Put(within(t, 10*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrTooManyRequests, etcd.OutcomeNotSent)
	mustSay(t, err, "HTTP status 429", "a proxy limits how many requests")

	dead := connect(t, etcd.Config{Endpoints: []string{nginx(t, freeAddress(t), "", "")}, Retry: -1})
	_, err = dead.Put(within(t, 10*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
	mustSay(t, err, "HTTP status 502", "a proxy could not reach etcd")
}

// A proxy that speaks HTTP/1 alone says so in HTTP/1.
func TestNginxInHTTP1(t *testing.T) {
	c := connect(t, etcd.Config{Endpoints: []string{nginxOf(t, "", testbed.Shared.Addr(), "", "")}})
	_, err := c.Put(within(t, 10*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
	mustSay(t, err, "server answers in HTTP/1, with status 400")
}

func TestHAProxy(t *testing.T) {
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	var members []string
	for _, m := range cluster.Members() {
		members = append(members, m.Addr())
	}
	for _, mode := range []string{"tcp", "http"} {
		t.Run(mode, func(t *testing.T) {
			fewRequests(t, connect(t, etcd.Config{Endpoints: []string{haproxy(t, mode, members...)}}))
		})
	}
	dead := connect(t, etcd.Config{Endpoints: []string{haproxy(t, "http", freeAddress(t))}, Retry: -1})
	_, err := dead.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
	mustSay(t, err, "HTTP status 503", "a proxy has no etcd")
	old := connect(t, etcd.Config{Endpoints: []string{haproxy(t, "http1", freeAddress(t))}, Retry: -1})
	_, err = old.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
	mustSay(t, err, "server answers in HTTP/1, with status 400")
	refused := connect(t, etcd.Config{Endpoints: []string{haproxy(t, "tcp", freeAddress(t))}, Retry: -1})
	_, err = refused.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
	mustSay(t, err, "server closed the connection")
}
