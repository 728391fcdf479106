package v3compat

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	ctx := within(t, 30*time.Second)
	admin := connect(t, clientv3.Config{Endpoints: server.Endpoints()})
	for _, err := range []error{
		second(admin.UserAdd(ctx, "root", "secret")), second(admin.UserGrantRole(ctx, "root", "root")), second(admin.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Put(ctx, "k", "v"); err != rpctypes.ErrUserEmpty {
		t.Errorf("without a name: %v", err)
	}
	root := connect(t, clientv3.Config{Endpoints: server.Endpoints(), Username: "root", Password: "secret"})
	if _, err := root.Put(ctx, "k", "v"); err != nil {
		t.Error(err)
	}
	if root.Username != "root" {
		t.Errorf("the client's user is %q", root.Username)
	}
	// A connection that Dial makes carries the token.
	if status, err := clientv3.NewMaintenance(root).Status(ctx, server.Endpoints()[0]); err != nil || status.Version == "" {
		t.Errorf("status %v, %v", status, err)
	}
	client, err := v3compat.New(clientv3.Config{Endpoints: server.Endpoints(), Username: "root", Password: "wrong"})
	if err == nil {
		_ = client.Close()
	}
	if err != rpctypes.ErrAuthFailed {
		t.Errorf("with a wrong password: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTLS(t *testing.T) {
	t.Parallel()
	server := etcdtest.StartConfig(t, etcdtest.Config{TLS: etcdtest.MutualTLS})
	ctx := within(t, 20*time.Second)
	client := connect(t, clientv3.Config{Endpoints: server.Endpoints(), TLS: server.ClientTLS()})
	if _, err := client.Put(ctx, "k", "v"); err != nil {
		t.Error(err)
	}
	dialed := clientv3.NewMaintenance(client)
	if status, err := dialed.Status(ctx, server.Endpoints()[0]); err != nil || status.Version == "" {
		t.Errorf("status %v, %v", status, err)
	}
	// Errors that waiting cannot fix end a call at once.
	stranger := connect(t, clientv3.Config{Endpoints: server.Endpoints(), TLS: new(tls.Config)})
	if _, err := stranger.Get(ctx, "k"); err == nil || ctx.Err() != nil {
		t.Errorf("with a certificate that nobody vouches for: %v", err)
	}
}

func TestRejectOldCluster(t *testing.T) {
	t.Parallel()
	config := clientv3.Config{Endpoints: testbed.Shared.Endpoints(), RejectOldCluster: true, DialTimeout: 10 * time.Second}
	client, err := v3compat.New(config)
	if err == nil {
		_ = client.Close()
	}
	if old := strings.HasPrefix(testbed.Shared.Version(), "3.5"); old != errors.Is(err, clientv3.ErrOldCluster) {
		t.Errorf("a cluster of version %s: %v", testbed.Shared.Version(), err)
	}
}

// Our log messages go where client/v3's do, and name the fields without effect.
func TestLogger(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.InfoLevel)
	client := connect(t, clientv3.Config{Logger: zap.New(core), DialKeepAliveTime: time.Second, PermitWithoutStream: true})
	if _, err := client.Get(within(t, 20*time.Second), "k"); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil { // the connecting goroutine may log after the call has returned
		t.Error(err)
	}
	if client.GetLogger().Core() != core {
		t.Error("it has another logger")
	}
	var all []string
	for _, entry := range logged.All() {
		all = append(all, entry.Message, strings.Join(strings.Fields(strings.TrimSpace(toText(entry))), " "))
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"DialKeepAliveTime PermitWithoutStream", "connected"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log:\n%s", want, text)
		}
	}
}

func toText(entry observer.LoggedEntry) string {
	var parts []string
	for _, v := range entry.ContextMap() {
		if list, ok := v.([]any); ok {
			for _, e := range list {
				parts = append(parts, e.(string))
			}
		}
	}
	return strings.Join(parts, " ")
}
