package etcdtest

import (
	"errors"
	"testing"
)

// StartBalancer runs a proxy in front of several servers until the test ends, as
// [Proxy.Balance] describes.
func StartBalancer(t testing.TB, targets ...string) *Proxy {
	t.Helper()
	if len(targets) == 0 {
		t.Fatal("etcdtest: a balancer needs a target")
	}
	p := StartProxy(t, targets[0])
	if err := p.Balance(targets...); err != nil {
		t.Fatal(err)
	}
	return p
}

// Balance makes the proxy act like a TCP balancer or a Kubernetes service: each new
// connection goes to the next of the targets, whether that one serves or not.
// Targets have the form of [NewProxy]. Existing connections stay where they are.
func (p *Proxy) Balance(targets ...string) error {
	if len(targets) == 0 {
		return errors.New("etcdtest: a balancer needs a target")
	}
	hosts := make([]string, len(targets))
	for i, target := range targets {
		_, host, err := splitTarget(target)
		if err != nil {
			return err
		}
		hosts[i] = host
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets, p.turn = hosts, 0
	return nil
}

// nextTarget is where the next connection goes.
func (p *Proxy) nextTarget() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	target := p.targets[p.turn%len(p.targets)]
	p.turn++
	return target
}
