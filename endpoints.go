package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"silly.store/etcd/internal/balance"
)

// endpoints is where the client's members are, and where that is known from.
type endpoints struct {
	set *balance.Set
	tls *tls.Config

	mu    sync.Mutex         // guards the fields below
	given []balance.Endpoint // by the user; never dropped but by the user
}

// parseEndpoints reads what the user has given as field, which errors name.
func parseEndpoints(field string, list []string, config *tls.Config) ([]balance.Endpoint, error) {
	if len(list) == 0 {
		return nil, errors.New(field + ` is empty; give at least one, like "127.0.0.1:2379"`)
	}
	parsed := make([]balance.Endpoint, len(list))
	seen := make(map[string]int)
	for i, s := range list {
		e, err := balance.ParseEndpoint(s, config)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %w", field, i, err)
		}
		if first, ok := seen[e.Target.Address]; ok {
			return nil, fmt.Errorf("%s[%d] %q is the same as %s[%d]", field, i, s, field, first)
		}
		seen[e.Target.Address] = i
		parsed[i] = e
	}
	return parsed, nil
}

// SetEndpoints replaces the endpoints of the client: those of the Config, and
// those that were learned. They are written as in [Config.Endpoints]; at least
// one is needed. It connects to nothing.
//
// An endpoint that stays keeps its connections. One that is left out takes no
// new calls; the calls on it finish, the watches on it go on elsewhere without
// losing an event, leases are renewed elsewhere, and each of its connections is
// closed with its last call. A [KeepAliveStream] stays where it is until it is
// closed.
//
// Errors: ErrInvalidRequest, whose text names the endpoint at fault, and
// ErrClosed. The endpoints are then as they were.
func (c *Client) SetEndpoints(list []string) error {
	const op = "SetEndpoints"
	parsed, err := parseEndpoints("endpoints", list, c.endpoints.tls)
	if err != nil {
		return invalid(op, err)
	}
	e := &c.endpoints
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.set.Replace(parsed) {
		return clientClosed(op)
	}
	e.given = parsed
	return nil
}

// Endpoints returns the endpoints in use, as they were written.
func (c *Client) Endpoints() []string { return c.set.Endpoints() }
