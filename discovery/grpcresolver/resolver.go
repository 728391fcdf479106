package grpcresolver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"

	"silly.store/etcd"
	"silly.store/etcd/discovery"
)

// Scheme is the scheme of the targets.
const Scheme = "etcd"

// Builder makes resolvers; pass it to grpc.WithResolvers. It is safe for concurrent use.
type Builder struct {
	client *etcd.Client
	config discovery.WatchConfig
}

// NewBuilder makes a Builder. Service of the configuration must be empty, since the target
// names it; the other fields apply to all targets. It makes no request. Close gRPC's
// connections before the client.
//
// The error names the field that is wrong; errors.Is finds etcd.ErrInvalidConfig.
func NewBuilder(c *etcd.Client, config discovery.WatchConfig) (*Builder, error) {
	if config.Service != "" {
		return nil, fmt.Errorf("grpcresolver: WatchConfig.Service is %q; the target names the service: %w", config.Service, etcd.ErrInvalidConfig)
	}
	probe := config
	probe.Service = "probe"
	w, err := discovery.Watch(c, probe)
	if err != nil {
		return nil, err
	}
	_ = w.Close() // always nil
	return &Builder{c, config}, nil
}

// Scheme returns "etcd".
func (b *Builder) Scheme() string { return Scheme }

// Build begins to resolve a target. It makes no request before it returns. It is called by
// gRPC. It fails for a target that is not etcd:///<service>; errors.Is finds
// etcd.ErrInvalidConfig.
func (b *Builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	config := b.config
	var err error
	if config.Service, err = serviceOf(target); err != nil {
		return nil, err
	}
	w, err := discovery.Watch(b.client, config)
	if err != nil {
		return nil, misread(target, err)
	}
	r := &instances{watcher: w, cc: cc, service: config.Service}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.routine.Go(r.run)
	return r, nil
}

// serviceOf is the service that a target names. What would have no effect is refused, above all
// a host: the instances are found through the Builder's client.
func serviceOf(target resolver.Target) (string, error) {
	u := &target.URL
	switch {
	case u.Host != "" || u.User != nil:
		return "", misread(target, fmt.Errorf("it has a host, but the resolver's client has the endpoints of etcd: %w", etcd.ErrInvalidConfig))
	case u.RawQuery != "" || u.ForceQuery:
		return "", misread(target, fmt.Errorf("it has a query: %w", etcd.ErrInvalidConfig))
	case u.Fragment != "":
		return "", misread(target, fmt.Errorf("it has a fragment: %w", etcd.ErrInvalidConfig))
	case u.Opaque != "": // etcd:search
		return u.Opaque, nil
	}
	return target.Endpoint(), nil
}

func misread(target resolver.Target, err error) error {
	return fmt.Errorf("grpcresolver: target %q, which should be etcd:///<service>: %w", target.URL.Redacted(), err)
}

// instances is the resolver of one target.
type instances struct {
	watcher *discovery.Watcher
	cc      resolver.ClientConn
	service string
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	routine sync.WaitGroup
}

// ResolveNow does nothing: changes come by themselves.
func (r *instances) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the watch and waits for the resolver's goroutine.
func (r *instances) Close() {
	r.cancel()
	_ = r.watcher.Close() // always nil
	r.routine.Wait()
}

// reportEvery is how often a resolver that has no set yet reports why.
const reportEvery = time.Second

func (r *instances) run() {
	for !r.ready() {
		if r.ctx.Err() != nil {
			return
		}
	}
	first := true
	for set, err := range r.watcher.All(r.ctx) {
		switch {
		case r.ctx.Err() != nil:
			return
		case err != nil: // the client was closed
			r.cc.ReportError(err)
		case first || len(set.Added)+len(set.Removed)+len(set.Updated) > 0:
			// Its error says that the policy did not like the set. Asking again would bring
			// the same.
			_ = r.cc.UpdateState(resolver.State{Endpoints: endpoints(set.Instances)})
			if len(set.Instances) == 0 { // pick_first would say "produced zero addresses"
				r.cc.ReportError(fmt.Errorf("grpcresolver: the service %q has no instances", r.service))
			}
			first = false
		}
	}
}

// ready waits for the first set, and reports when it does not come.
func (r *instances) ready() bool {
	ctx, cancel := context.WithTimeout(r.ctx, reportEvery)
	defer cancel()
	err := r.watcher.Ready(ctx)
	if err != nil && r.ctx.Err() == nil {
		r.cc.ReportError(fmt.Errorf("grpcresolver: %w", err))
		<-ctx.Done() // an error that is there at once is not reported all the time
	}
	return err == nil
}

// endpoints are those of instances; of several with one address the first counts.
func endpoints(list []discovery.Instance) []resolver.Endpoint {
	out := make([]resolver.Endpoint, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, i := range list {
		if seen[i.Addr] {
			continue
		}
		seen[i.Addr] = true
		e := resolver.Endpoint{Addresses: []resolver.Address{{Addr: i.Addr}}}
		e.Attributes = e.Attributes.WithValue(attribute{}, instance{i})
		if n, ok := i.Weight(); ok {
			e = weight.Set(e, weight.EndpointInfo{Weight: n})
		}
		out = append(out, e)
	}
	return out
}

type attribute struct{}

// instance is the value of the attribute.
type instance struct{ discovery.Instance }

// Equal is for attributes.Attributes, since metadata may hold maps.
func (i instance) Equal(o any) bool {
	other, ok := o.(instance)
	return ok && i.Service == other.Service && i.ID == other.ID && i.Revision == other.Revision
}

// FromEndpoint returns the instance of an endpoint that this package has made; ok is false for
// other endpoints.
func FromEndpoint(e resolver.Endpoint) (i discovery.Instance, ok bool) {
	v, ok := e.Attributes.Value(attribute{}).(instance)
	return v.Instance, ok
}
