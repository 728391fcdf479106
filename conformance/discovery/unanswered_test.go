package discovery

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/etcdtest"
)

// A member takes the Txn of a registration and never answers it, as one does whose leader
// dies with the request, while its connection is up. The registration makes it again with
// another member, before Config.Timeout of the client has passed.
func TestTxnThatIsNeverAnswered(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for what, act := range map[string]func(t *testing.T, reg *discovery.Registration) error{
		"Update": func(t *testing.T, reg *discovery.Registration) error {
			return reg.Update(testbed.Within(t, time.Minute), discovery.Instance{Addr: "2"})
		},
		"Close": func(t *testing.T, reg *discovery.Registration) error {
			return reg.Close(testbed.Within(t, time.Minute))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := onefault.New(t)
			ways := testbed.Detour(t, testbed.Shared.Endpoints()[0])
			c := testbed.Connect(t, etcd.Config{Endpoints: ways, DialContext: f.Dial, Timeout: timeout})
			name := testbed.OwnName(t)
			reg := register(t, testbed.Coordinate(t, c, concurrency.Config{}), discovery.Instance{Service: name, ID: "a", Addr: "1"})
			hit := f.Arm(onefault.Stall, name+"/a")
			began := time.Now()
			if err := act(t, reg); err != nil {
				t.Error(err)
			}
			<-hit
			if d := time.Since(began); d > timeout*3/4 { // the first copy waits for 3 s
				t.Errorf("it took %v", d)
			}
		})
	}
}

// In a cluster whose answers take longer than a first copy waits, a registration that has
// learned so gives each Txn the time that it needs.
func TestSlowCluster(t *testing.T) {
	t.Parallel()
	const answer = 1300 * time.Millisecond // a first copy waits for 1.2 s
	p := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}, Timeout: 4 * time.Second})
	reg := register(t, testbed.Coordinate(t, c, concurrency.Config{}), discovery.Instance{Service: testbed.OwnName(t), ID: "a", Addr: "1"})
	p.Set(etcdtest.BothWays, etcdtest.Fault{Delay: answer / 2})
	for _, addr := range []string{"2", "3"} {
		began := time.Now()
		if err := reg.Update(testbed.Within(t, time.Minute), discovery.Instance{Addr: addr}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); addr == "3" && d > 3*answer { // the first has learned it
			t.Errorf("the second Update took %v", d)
		}
	}
}
