package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Listing, adding, changing, promoting and removing members.
func TestMembers(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 30})
	members := c.Cluster()
	ctx := within(t, time.Minute)

	list := memberList(t, members, etcd.MemberListRequest{})
	if len(list) != 3 {
		t.Fatalf("%d members: %+v", len(list), list)
	}
	for _, m := range list {
		if m.ID == 0 || !strings.HasPrefix(m.Name, "etcd") || len(m.PeerURLs) != 1 || m.IsLearner {
			t.Errorf("%+v", m)
		}
		if len(m.ClientURLs) != 1 || !slices.Contains(cluster.Endpoints(), m.ClientURLs[0]) {
			t.Errorf("client URLs %q, want one of %q", m.ClientURLs, cluster.Endpoints())
		}
	}
	if local := memberList(t, members, etcd.MemberListRequest{Serializable: true}); len(local) != 3 {
		t.Errorf("%d members in a serializable list", len(local))
	}

	// A member that has just started refuses changes for some seconds; the call
	// waits that long.
	added, err := members.MemberAdd(ctx, etcd.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:1"}, Learner: true})
	if err != nil {
		t.Fatal(err)
	}
	id := added.Member.ID
	if id == 0 || !added.Member.IsLearner || len(added.Members) != 4 || added.Header.ClusterID == 0 {
		t.Errorf("added %+v", added)
	}
	_, err = members.MemberAdd(ctx, etcd.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:2", "http://127.0.0.1:1"}, Learner: true})
	wants(t, err, etcd.ErrPeerURLExists, etcd.OutcomeRejected)
	_, err = members.MemberAdd(ctx, etcd.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:2"}, Learner: true})
	wants(t, err, etcd.ErrTooManyLearners, etcd.OutcomeRejected)
	_, err = members.MemberPromote(ctx, etcd.MemberPromoteRequest{ID: id})
	wants(t, err, etcd.ErrLearnerNotReady, etcd.OutcomeRejected)
	_, err = members.MemberPromote(ctx, etcd.MemberPromoteRequest{ID: list[0].ID})
	wants(t, err, etcd.ErrMemberNotLearner, etcd.OutcomeRejected)
	updated, err := members.MemberUpdate(ctx, etcd.MemberUpdateRequest{ID: id, PeerURLs: []string{"http://127.0.0.1:3"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(updated.Members, func(m etcd.Member) bool { return m.ID == id && m.PeerURLs[0] == "http://127.0.0.1:3" }) {
		t.Errorf("updated %+v", updated.Members)
	}
	removed, err := members.MemberRemove(ctx, etcd.MemberRemoveRequest{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if len(removed.Members) != 3 {
		t.Errorf("removed: %+v", removed.Members)
	}
	_, err = members.MemberRemove(ctx, etcd.MemberRemoveRequest{ID: id})
	wants(t, err, etcd.ErrMemberNotFound, etcd.OutcomeRejected)
	_, err = members.MemberUpdate(ctx, etcd.MemberUpdateRequest{ID: id, PeerURLs: []string{"http://127.0.0.1:3"}})
	wants(t, err, etcd.ErrMemberNotFound, etcd.OutcomeRejected)
	if list := memberList(t, members, etcd.MemberListRequest{}); len(list) != 3 {
		t.Errorf("%d members at the end", len(list))
	}
}

func memberList(t *testing.T, cl etcd.Cluster, req etcd.MemberListRequest) []etcd.Member {
	t.Helper()
	resp, err := cl.MemberList(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Members
}

// Without a majority only a serializable list succeeds.
func TestMemberListAlone(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	for _, m := range cluster.Members()[1:] {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	c := connect(t, etcd.Config{Endpoints: cluster.Members()[0].Endpoints(), Retry: -1, Timeout: 300 * time.Millisecond})
	eventually(t, "a call that finds no leader", func() bool {
		_, err := c.Cluster().MemberList(t.Context(), etcd.MemberListRequest{})
		return errors.Is(err, etcd.ErrNoLeader)
	})
	if list := memberList(t, c.Cluster(), etcd.MemberListRequest{Serializable: true}); len(list) != 3 {
		t.Errorf("%d members", len(list))
	}
}

func TestMemberRequestsRefused(t *testing.T) {
	t.Parallel()
	cl := connect(t, etcd.Config{}).Cluster()
	add := func(urls ...string) error {
		_, err := cl.MemberAdd(t.Context(), etcd.MemberAddRequest{PeerURLs: urls})
		return err
	}
	good := "http://127.0.0.1:2380"
	for text, err := range map[string]error{
		"MemberAddRequest.PeerURLs is empty":                    add(),
		"MemberAddRequest.PeerURLs[1] \"\" does not begin with": add(good, ""),
		"PeerURLs[0] \"host:2380\" does not begin with":         add("host:2380"),
		"PeerURLs[0] \"http://h\" has no port":                  add("http://h"),
		"PeerURLs[0] \"http://:1\" has no host":                 add("http://:1"),
		"PeerURLs[0] \"http://h:1/x\" has a path":               add("http://h:1/x"),
		"PeerURLs[0] is not a URL":                              add("http://h:x"),
		"PeerURLs[0] has a user or password":                    add("http://a:b@h:1"),
		"PeerURLs[0] \"http://\\xff:1\" is not UTF-8":           add("http://\xff:1"),
		"MemberRemoveRequest.ID is 0":                           second(cl.MemberRemove(t.Context(), etcd.MemberRemoveRequest{})),
		"MemberPromoteRequest.ID is 0":                          second(cl.MemberPromote(t.Context(), etcd.MemberPromoteRequest{})),
		"MemberUpdateRequest.ID is 0":                           second(cl.MemberUpdate(t.Context(), etcd.MemberUpdateRequest{PeerURLs: []string{good}})),
		"MemberUpdateRequest.PeerURLs is empty":                 second(cl.MemberUpdate(t.Context(), etcd.MemberUpdateRequest{ID: 1})),
	} {
		refused(t, err, etcd.ErrInvalidRequest, text)
	}
}
