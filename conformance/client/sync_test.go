package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// network is a dialer for which some addresses are unreachable.
type network struct {
	mu   sync.Mutex // guards the fields below
	down map[string]bool
}

func (n *network) set(address string, down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down == nil {
		n.down = make(map[string]bool)
	}
	n.down[address] = down
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	down := n.down[address]
	n.mu.Unlock()
	if down {
		return nil, errors.New("no route to " + address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// byMember counts which members answer n reads.
func byMember(t testing.TB, c *etcd.Client, n int) map[uint64]int {
	t.Helper()
	count := make(map[uint64]int)
	for range n {
		count[get(t, c, etcd.GetRequest{Key: "k"}).Header.MemberID]++
	}
	return count
}

// localhost is an endpoint of s with a name that s does not advertise.
func localhost(t testing.TB, s *etcdtest.Server) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return "localhost:" + port
}

func syncNow(t testing.TB, c *etcd.Client) *etcd.SyncResponse {
	t.Helper()
	resp, err := c.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Endpoints(); !slices.Equal(got, resp.Endpoints) {
		t.Errorf("endpoints %v, but Sync says %v", got, resp.Endpoints)
	}
	return resp
}

// Sync learns the members behind one given address. The given address stays. An
// unreachable advertised address is reported and not used until it answers. Each
// member gets one share of the calls, however many addresses it has. Former members
// are dropped.
func TestSync(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	members := cluster.Members()
	seed := localhost(t, members[0])
	ways := new(network)
	ways.set(members[2].Addr(), true)
	c := connect(t, etcd.Config{Endpoints: []string{seed}, DialContext: ways.dial})
	put(t, c, "k", "v")

	resp := syncNow(t, c)
	want := []string{seed, members[0].Endpoints()[0], members[1].Endpoints()[0]}
	if !sameSet(resp.Endpoints, want) || resp.Endpoints[0] != seed {
		t.Errorf("endpoints %v, want %v", resp.Endpoints, want)
	}
	if len(resp.Skipped) != 1 || resp.Skipped[0].Endpoint != members[2].Endpoints()[0] || resp.Skipped[0].Member == 0 {
		t.Errorf("skipped %+v, want the third member's", resp.Skipped)
	} else {
		mustSay(t, resp.Skipped[0].Err, "no route to")
	}
	ways.set(members[2].Addr(), false)
	resp = syncNow(t, c)
	if len(resp.Endpoints) != 4 || len(resp.Skipped) != 0 {
		t.Errorf("found %+v, want all three members", resp)
	}
	byMember(t, c, 50) // all are connected
	for id, n := range byMember(t, c, 900) {
		if n < 200 || n > 400 {
			t.Errorf("member %x got %d of 900 reads, want about a third", id, n)
		}
	}
	// A learned member that does not answer at the moment stays.
	ways.set(members[1].Addr(), true)
	if resp = syncNow(t, c); len(resp.Endpoints) != 4 {
		t.Errorf("endpoints %v after a learned one did not answer", resp.Endpoints)
	}
	ways.set(members[1].Addr(), false)
	// A former member is dropped.
	list, err := c.Cluster().MemberList(t.Context(), etcd.MemberListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	gone := members[1].Endpoints()[0]
	for _, m := range list.Members {
		if slices.Contains(m.ClientURLs, gone) {
			eventually(t, "the member to be removed", func() bool {
				_, err := c.Cluster().MemberRemove(t.Context(), etcd.MemberRemoveRequest{ID: m.ID})
				return err == nil || errors.Is(err, etcd.ErrMemberNotFound) // an unknown one may have been applied
			})
		}
	}
	eventually(t, "the removed member to be left out", func() bool {
		resp, err := c.Sync(t.Context())
		return err == nil && len(resp.Endpoints) == 3 && !slices.Contains(resp.Endpoints, gone)
	})
	for range 50 {
		put(t, c, "k", "v")
	}
	// The user's endpoints replace all learned ones.
	if err := c.SetEndpoints(members[2].Endpoints()); err != nil {
		t.Fatal(err)
	}
	if got := c.Endpoints(); !slices.Equal(got, members[2].Endpoints()) {
		t.Errorf("endpoints %v after SetEndpoints", got)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// startLearner adds a learner to the cluster of c.
func startLearner(t *testing.T, c *etcd.Client) (*etcdtest.Server, uint64) {
	t.Helper()
	// An address of its own, where the platform has several: on 127.0.0.1 a connection of another
	// test could get the port before the learner does.
	free, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		free, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	peer := "http://" + free.Addr().String()
	_ = free.Close()
	added, err := c.Cluster().MemberAdd(t.Context(), etcd.MemberAddRequest{PeerURLs: []string{peer}, Learner: true})
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"learner=" + peer}
	for _, m := range added.Members {
		if m.Name != "" {
			all = append(all, m.Name+"="+m.PeerURLs[0])
		}
	}
	learner := etcdtest.StartProcess(t, etcdtest.Config{Args: []string{
		"--name=learner", "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + strings.Join(all, ","), "--initial-cluster-state=existing",
	}})
	return learner, added.Member.ID
}

// A learner is not used, whether it is advertised or given, until it has a vote.
func TestSyncLearner(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{Retry: -1})
	learner, id := startLearner(t, c)
	eventually(t, "the learner to be skipped", func() bool {
		resp := syncNow(t, c)
		return len(resp.Skipped) == 1 && errors.Is(resp.Skipped[0].Err, etcd.ErrNotSupportedForLearner) &&
			resp.Skipped[0].Endpoint == learner.Endpoints()[0] && slices.Equal(resp.Endpoints, s.Endpoints())
	})
	both := append(s.Endpoints(), learner.Endpoints()...)
	if err := c.SetEndpoints(both); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		put(t, c, "k", "v")
	}
	eventually(t, "the learner to be promoted", func() bool {
		_, err := c.Cluster().MemberPromote(t.Context(), etcd.MemberPromoteRequest{ID: id})
		return err == nil
	})
	eventually(t, "the promoted member to be used", func() bool {
		_ = syncNow(t, c)
		return byMember(t, c, 20)[id] > 0
	})
}

// Each endpoint's certificate is verified for the host in its own address,
// including learned endpoints, unless one name is given for all.
func TestSyncTLS(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CertHosts: []string{"localhost"}})
	seed := "https://" + localhost(t, s)
	c := connect(t, etcd.Config{Endpoints: []string{seed}, TLS: s.ClientTLS()})
	resp := syncNow(t, c)
	if len(resp.Skipped) != 1 || !slices.Equal(resp.Endpoints, []string{seed}) {
		t.Errorf("found %+v, want the advertised address skipped", resp)
	} else {
		mustSay(t, resp.Skipped[0].Err, "127.0.0.1", "certificate is for another name")
	}
	named := s.ClientTLS()
	named.ServerName = "localhost"
	c = connect(t, etcd.Config{Endpoints: []string{seed}, TLS: named})
	if resp = syncNow(t, c); len(resp.Skipped) != 0 || len(resp.Endpoints) != 2 {
		t.Errorf("found %+v, want both addresses", resp)
	}

	// A member that advertises a plain address does not lower the client's guard.
	plain := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, Args: []string{"--advertise-client-urls=http://127.0.0.1:1"}})
	c = connect(t, etcd.Config{Endpoints: plain.Endpoints(), TLS: plain.ClientTLS()})
	resp = syncNow(t, c)
	if len(resp.Skipped) != 1 || !slices.Equal(resp.Endpoints, plain.Endpoints()) {
		t.Errorf("found %+v, want the plain address skipped", resp)
	} else {
		mustSay(t, resp.Skipped[0].Err, "plain text though Config.TLS is set")
	}
}

// SyncInterval syncs periodically, and Close ends that.
func TestSyncInterval(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Size: 2})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints()[:1], SyncInterval: 50 * time.Millisecond})
	eventually(t, "the second member to be learned", func() bool { return sameSet(c.Endpoints(), cluster.Endpoints()) })
	if err := namespaced.Whole(c).Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Sync(t.Context())
	wants(t, err, etcd.ErrClosed, etcd.OutcomeNotSent)

	_, err = etcd.New(etcd.Config{Endpoints: cluster.Endpoints(), SyncInterval: -1})
	refused(t, err, etcd.ErrInvalidConfig, "Config.SyncInterval is negative")
}
