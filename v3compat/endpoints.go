package v3compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/serviceconfig"
)

// SetEndpoints and Sync of a clientv3.Client tell one place of the endpoints: the
// gRPC resolver of its connection, and that its load balancing policy. So there is
// a policy of ours, which passes them on and connects to nothing. It also gives the
// connection its state (state.go).

// policyName is how the policy is registered with gRPC.
const policyName = "silly_etcd_v3compat"

func init() { balancer.Register(policy{}) }

var (
	followers    sync.Map // of uint64: *follower; those that have not been closed
	lastFollower atomic.Uint64
)

// follower gives the endpoints of a clientv3.Client to an etcd.Client.
type follower struct {
	id    uint64
	set   func([]string) error
	state *reporter

	// taken: the connection of the clientv3.Client has the policy. Further ones
	// with the same options are those of its Dial.
	taken atomic.Bool

	passing sync.Mutex // held while endpoints are passed on; guards known
	known   []string   // what set was last given, or has from the start

	mu       sync.Mutex // guards the fields below
	client   *clientv3.Client
	closed   bool
	routines sync.WaitGroup // of passOn
}

func newFollower(known []string, set func([]string) error, state *reporter) *follower {
	f := &follower{id: lastFollower.Add(1), set: set, known: known, state: state}
	followers.Store(f.id, f)
	return f
}

// options make a gRPC connection one that is followed.
func (f *follower) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithIdleTimeout(0), // an idle connection has no resolver
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{"id":%d}}]}`, policyName, f.id)),
	}
}

// follow begins. The client has the endpoints that are known already.
func (f *follower) follow(client *clientv3.Client) {
	f.mu.Lock()
	f.client = client
	f.mu.Unlock()
	client.ActiveConnection().Connect()
}

// changed is called while the client holds the lock on its endpoints, so these
// are read by another goroutine.
func (f *follower) changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil && !f.closed {
		client := f.client
		f.routines.Go(func() { f.passOn(client) })
	}
}

// ended is called when the connection was closed, by Close of the client or by itself. In
// the second case the watches end, as in client/v3.
func (f *follower) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil && !f.closed {
		watcher := f.client.Watcher
		f.routines.Go(func() { _ = watcher.Close() })
	}
}

func (f *follower) passOn(client *clientv3.Client) {
	f.passing.Lock()
	defer f.passing.Unlock()
	endpoints := client.Endpoints()
	if slices.Equal(endpoints, f.known) {
		return
	}
	if err := f.set(endpoints); err != nil {
		client.GetLogger().Warn("SetEndpoints was refused; the former endpoints stay in use", zap.Error(err))
		return
	}
	f.known = endpoints
}

func (f *follower) close() {
	followers.Delete(f.id)
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.routines.Wait()
	f.state.close()
}

// policy is the load balancing policy.
type policy struct{}

// policyConfig is its configuration.
type policyConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`
	ID                                uint64 `json:"id"`
}

func (policy) Name() string { return policyName }

func (policy) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	config := new(policyConfig)
	if err := json.Unmarshal(text, config); err != nil {
		return nil, err
	}
	return config, nil
}

func (policy) Build(conn balancer.ClientConn, options balancer.BuildOptions) balancer.Balancer {
	return &followingBalancer{conn: conn, options: options}
}

// followingBalancer connects to nothing for the connection that is followed, and
// is gRPC's pick_first for those that Dial makes. gRPC calls it from one goroutine
// at a time.
type followingBalancer struct {
	conn     balancer.ClientConn
	options  balancer.BuildOptions
	follower *follower
	dialed   balancer.Balancer
	exited   bool // ExitIdle was called before
}

func (b *followingBalancer) UpdateClientConnState(state balancer.ClientConnState) error {
	if b.follower == nil && b.dialed == nil {
		b.begin(state)
	}
	if b.dialed != nil {
		state.BalancerConfig = nil
		return b.dialed.UpdateClientConnState(state)
	}
	b.follower.changed()
	return nil
}

var errNoTransport = errors.New("calls on this connection are answered by silly.store/etcd")

func (b *followingBalancer) begin(state balancer.ClientConnState) {
	if config, ok := state.BalancerConfig.(*policyConfig); ok {
		if f, ok := followers.Load(config.ID); ok && f.(*follower).taken.CompareAndSwap(false, true) {
			b.follower = f.(*follower)
			b.follower.state.begin(func(s connectivity.State) {
				b.conn.UpdateState(balancer.State{ConnectivityState: s, Picker: base.NewErrPicker(errNoTransport)})
			})
			return
		}
	}
	b.dialed = balancer.Get(pickfirst.Name).Build(b.conn, b.options)
}

func (b *followingBalancer) ResolverError(err error) {
	if b.dialed != nil {
		b.dialed.ResolverError(err)
	}
}

// UpdateSubConnState is of an older gRPC; pick_first has listeners.
func (b *followingBalancer) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle is called by Connect. The first one is follow's.
func (b *followingBalancer) ExitIdle() {
	switch {
	case b.dialed != nil:
		b.dialed.ExitIdle()
	case b.follower != nil && b.exited:
		b.follower.state.connect()
	}
	b.exited = true
}

func (b *followingBalancer) Close() {
	switch {
	case b.dialed != nil:
		b.dialed.Close()
	case b.follower != nil:
		b.follower.ended()
	}
}
