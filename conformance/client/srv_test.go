package client

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// dnsServer answers questions for SRV records and IPv4 addresses over UDP on loopback.
type dnsServer struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex          // guards the fields below
	records map[string][]string // host:port by name, for SRV
	hosts   map[string][]string // IPv4 addresses by name
	asked   map[string]int
	broken  bool // it answers "server failure"
}

func newDNS(t testing.TB) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsServer{conn: conn, done: make(chan struct{}), records: make(map[string][]string), hosts: make(map[string][]string), asked: make(map[string]int)}
	go d.serve()
	t.Cleanup(func() { _ = conn.Close(); <-d.done })
	return d
}

// resolver asks this server and no other.
func (d *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

// set sets the records of a name to addresses without a scheme.
func (d *dnsServer) set(name string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[name] = addresses
}

// setHost sets the addresses of a host.
func (d *dnsServer) setHost(host string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[host+"."] = addresses
}

func (d *dnsServer) fail(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
}

// questions returns how many queries there were for any name.
func (d *dnsServer) questions() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, asked := range d.asked {
		n += asked
	}
	return n
}

func (d *dnsServer) serve() {
	defer close(d.done)
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		if answer, err := d.answer(&m); err == nil {
			_, _ = d.conn.WriteTo(answer, from)
		}
	}
}

func (d *dnsServer) answer(m *dnsmessage.Message) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := m.Questions[0]
	name := q.Name.String()
	d.asked[name]++
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	records := d.records[name]
	switch {
	case d.broken:
		out.RCode = dnsmessage.RCodeServerFailure
	case len(d.hosts[name]) > 0:
		if q.Type == dnsmessage.TypeA {
			out.Answers = addressRecords(q.Name, d.hosts[name])
		}
		return out.Pack()
	case len(records) == 0 || q.Type != dnsmessage.TypeSRV:
		out.RCode = dnsmessage.RCodeNameError
	}
	for i, address := range records {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		out.Answers = append(out.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET, TTL: 1},
			Body: &dnsmessage.SRVResource{
				Priority: uint16(i), Port: uint16(number), Target: dnsmessage.MustNewName(host + "."),
			},
		})
	}
	return out.Pack()
}

func addressRecords(name dnsmessage.Name, addresses []string) (records []dnsmessage.Resource) {
	for _, a := range addresses {
		records = append(records, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		})
	}
	return records
}

// The members are found in DNS when the first call needs one, and again when
// none of them can be reached, and by Sync.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	members := cluster.Members()
	const name = "_etcd-client._tcp.etcd.test."
	dns := newDNS(t)
	c := connect(t, etcd.Config{DiscoverySRV: "etcd.test", Resolver: dns.resolver(), Retry: -1})
	if n := dns.questions(); n != 0 || len(c.Endpoints()) != 0 {
		t.Errorf("New asked DNS %d times and knows of %v", n, c.Endpoints())
	}
	// There are no records yet: an error says so at once.
	_, err := c.Get(t.Context(), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
	mustSay(t, err, "SRV records of etcd.test", "_etcd-client._tcp.etcd.test", "no such host")

	dns.set(name, localhost(t, members[0]), localhost(t, members[1]))
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"http://" + localhost(t, members[0]), "http://" + localhost(t, members[1])}
	if got := c.Endpoints(); !sameSet(got, want) {
		t.Errorf("endpoints %v, want %v", got, want)
	}
	w := watch(t, c, etcd.WatchRequest{Key: "k"})
	put(t, c, "k", "1")
	read(t, w)
	asked := dns.questions()
	for range 50 {
		put(t, c, "other", "")
	}
	if n := dns.questions(); n != asked {
		t.Errorf("DNS was asked %d times more while all is well", n-asked)
	}

	// DNS fails, and the client keeps the members; then they move, and it finds
	// them again.
	dns.fail(true)
	if resp, err := c.Sync(t.Context()); err != nil || len(resp.Endpoints) < 2 {
		t.Errorf("Sync while DNS fails: %+v, %v", resp, err)
	}
	dns.fail(false)
	fresh := connect(t, etcd.Config{DiscoverySRV: "etcd.test", Resolver: dns.resolver(), Retry: -1})
	put(t, fresh, "k", "2")
	read(t, w)
	moved := etcdtest.StartProcess(t, etcdtest.Config{})
	gone := etcdtest.StartProcess(t, etcdtest.Config{})
	dns.set(name, localhost(t, gone))
	moving := connect(t, etcd.Config{DiscoverySRV: "etcd.test", Resolver: dns.resolver()})
	if err := gone.Terminate(); err != nil {
		t.Fatal(err)
	}
	_, err = moving.Get(within(t, 300*time.Millisecond), etcd.GetRequest{Key: "k"})
	mustSay(t, err, "connection refused")
	dns.set(name, localhost(t, moved))
	eventually(t, "the member to be found where it has moved to", func() bool {
		_, err := moving.Put(within(t, 5*time.Second), etcd.PutRequest{Key: "k"})
		return err == nil
	})
	if got := moving.Endpoints(); !slices.Equal(got, []string{"http://" + localhost(t, moved)}) {
		t.Errorf("endpoints %v", got)
	}
	// Sync asks DNS too.
	dns.set(name, localhost(t, members[0]), localhost(t, members[1]), localhost(t, members[2]))
	resp := syncNow(t, fresh)
	if third := "http://" + localhost(t, members[2]); !slices.Contains(resp.Endpoints, third) {
		t.Errorf("endpoints %v after Sync, want %s among them", resp.Endpoints, third)
	}
	// Endpoints that are set end the discovery.
	if err := fresh.SetEndpoints(members[0].Endpoints()); err != nil {
		t.Fatal(err)
	}
	if got := fresh.Endpoints(); !slices.Equal(got, members[0].Endpoints()) {
		t.Errorf("endpoints %v", got)
	}
}

// Records for TLS come first, each with its own host's certificate. A client with
// TLS uses no others, and a failure of DNS does not count as their absence.
func TestDiscoveryTLS(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CertHosts: []string{"localhost"}})
	plain := etcdtest.StartProcess(t, etcdtest.Config{})
	dns := newDNS(t)
	dns.set("_etcd-client-ssl-blue._tcp.etcd.test.", localhost(t, s))
	dns.set("_etcd-client-blue._tcp.etcd.test.", localhost(t, plain))
	config := etcd.Config{DiscoverySRV: "etcd.test", DiscoverySRVName: "blue", Resolver: dns.resolver(), TLS: s.ClientTLS(), Retry: -1}
	c := connect(t, config)
	put(t, c, "k", "v")
	if got := c.Endpoints(); !slices.Equal(got, []string{"https://" + localhost(t, s)}) {
		t.Errorf("endpoints %v", got)
	}
	dns.set("_etcd-client-ssl-blue._tcp.etcd.test.")
	_, err := connect(t, config).Get(t.Context(), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
	mustSay(t, err, "_etcd-client-ssl-blue._tcp.etcd.test")

	config.TLS = nil
	put(t, connect(t, config), "k", "v") // there is only plain text, and the configuration asks for it
	dns.fail(true)
	_, err = connect(t, config).Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
}

// Errors name what is wrong with the configuration of a discovery.
func TestDiscoveryInvalid(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]etcd.Config{
		"Config.DiscoverySRVName is set without":    {DiscoverySRVName: "x", Endpoints: []string{"a:1"}},
		"Config.DiscoverySRV and Config.Endpoints":  {DiscoverySRV: "x", Endpoints: []string{"a:1"}},
		`Config.DiscoverySRV "a b" is not a domain`: {DiscoverySRV: "a b"},
		`Config.DiscoverySRVName "a.b" cannot be`:   {DiscoverySRV: "a", DiscoverySRVName: "a.b"},
	} {
		_, err := etcd.New(config)
		refused(t, err, etcd.ErrInvalidConfig, want)
	}
}
