package balance

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/internal/transport"
)

// Resolver looks up the addresses of a host, the family that suits this machine best
// first.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// places are the targets that a member's endpoint stands for, in the order in which
// they are to be tried: one for each address of its host, which is looked up for each
// connection.
func (s *Set) places(ctx context.Context, m *member, target transport.Target) ([]transport.Target, error) {
	host, port, err := net.SplitHostPort(target.Address)
	if s.resolve == nil || target.Network != "tcp" || err != nil {
		return []transport.Target{target}, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []transport.Target{target}, nil
	}
	found, err := s.resolve(ctx, host)
	if err == nil && len(found) == 0 {
		err = errors.New("lookup " + host + ": no addresses")
	}
	if err != nil {
		return nil, attemptError(ctx, "looking up "+host, err)
	}
	var places []transport.Target
	for _, address := range m.inOrder(s, found) {
		at := target
		at.Address, at.Resolved = net.JoinHostPort(address.String(), port), true
		places = append(places, at)
	}
	return places, nil
}

// attemptError is err, of what was done to connect, as an error of the transport. The
// end of ctx, which bounds the attempt, is not that of the caller's context.
func attemptError(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: what, Cause: context.Cause(ctx)}
	}
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: err}
}

// addressRecord records how one address of a host has fared.
type addressRecord struct {
	failed time.Time // when it was of no use last, and not of use since
	lost   time.Time // when a connection to it was lost last
}

// forgiveAfter is for how long an address that was of no use is tried after the others.
const forgiveAfter = time.Minute

// compare puts first what is more likely to be of use.
func (r addressRecord) compare(o addressRecord, now time.Time) int {
	failed := func(r addressRecord) time.Time {
		if now.Sub(r.failed) >= forgiveAfter {
			return time.Time{}
		}
		return r.failed
	}
	return cmp.Or(failed(r).Compare(failed(o)), r.lost.Compare(o.lost))
}

// inOrder is the order in which addresses are tried: at random, so that clients and
// connections spread over them, the families in turn, and those last that were of no
// use lately, or where a connection was lost.
func (m *member) inOrder(s *Set, found []netip.Addr) []netip.Addr {
	var first, other []netip.Addr
	for _, a := range found {
		a = a.Unmap()
		switch {
		case slices.Contains(first, a) || slices.Contains(other, a):
		case len(first) == 0 || a.Is4() == first[0].Is4():
			first = append(first, a)
		default:
			other = append(other, a)
		}
	}
	shuffle(first)
	shuffle(other)
	var order []netip.Addr
	for len(first)+len(other) > 0 {
		order = append(order, first[:min(1, len(first))]...)
		order = append(order, other[:min(1, len(other))]...)
		first, other = first[min(1, len(first)):], other[min(1, len(other)):]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range m.addresses {
		if !slices.Contains(order, a) {
			delete(m.addresses, a)
		}
	}
	now := time.Now()
	slices.SortStableFunc(order, func(a, b netip.Addr) int { return m.addresses[a].compare(m.addresses[b], now) })
	return order
}

func shuffle(list []netip.Addr) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// recordLocked changes the record of an address, which is written as host and port.
func (m *member) recordLocked(address string, change func(*addressRecord)) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return // it was not looked up
	}
	if m.addresses == nil {
		m.addresses = make(map[netip.Addr]addressRecord)
	}
	r := m.addresses[at.Addr()]
	change(&r)
	m.addresses[at.Addr()] = r
}

// record is recordLocked.
func (s *Set) record(m *member, address string, change func(*addressRecord)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.recordLocked(address, change)
}

// addressErrors is why none of a host's addresses could be reached.
type addressErrors []EndpointError

func (e addressErrors) Error() string {
	texts := make([]string, len(e))
	for i, f := range e {
		texts[i] = f.Endpoint + ": " + f.Err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap leaves out what waiting does not mend, if it may mend another address.
func (e addressErrors) Unwrap() []error {
	var all, hopeful []error
	for _, f := range e {
		all = append(all, f.Err)
		if !errors.Is(f.Err, transport.ErrMisconfigured) {
			hopeful = append(hopeful, f.Err)
		}
	}
	if len(hopeful) > 0 {
		return hopeful
	}
	return all
}
