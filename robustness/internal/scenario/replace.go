package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// replaceScenarios are the scenarios of changing endpoints.
var replaceScenarios = []Scenario{
	{
		Number: 32, Name: "replace-member", Quick: true,
		About:  "a member is replaced by an empty one at another address, and the endpoints, which include a foreign cluster's, are set or synced; mixed calls",
		Judged: []string{"I1", "I2", "I7", "I8", "I11"}, Time: 50 * time.Second, Least: history.Amount{Faults: 3, Calls: 5_000, Batches: 20},
		run: replaceMembers,
	},
}

func replaceMembers(w *world) (err error) {
	other, err := etcdtest.NewProcess(etcdtest.Config{LogLevel: "warn"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if err := w.refuseForeign(other); err != nil {
		return err
	}
	if err := w.refuseCertificate(); err != nil {
		return err
	}
	return underKeys(cycle{name: "member replaced, foreign endpoint", oneMember: true, gap: 3 * time.Second, hold: time.Second, inject: func(w *world, n int) (func() error, error) {
		if err := w.endpoints(append(other.Endpoints(), w.config().Endpoints...)); err != nil {
			return nil, err
		}
		heal := func() error { return w.addMember(n%2 == 1) }
		return heal, w.removeMember(n%2 == 0)
	}})(w)
}

// removeMember removes the leader, or a follower that has already crashed.
func (w *world) removeMember(leader bool) error {
	who := follows
	if leader {
		who = leads
	}
	m, err := who(w, 0)
	if err != nil {
		return err
	}
	if !leader {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	w.oracle.leave(m)
	w.gone[m.Name()] = m.Log()
	i := slices.Index(w.cluster.Members(), m)
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	if err := w.cluster.Remove(ctx, m); err != nil {
		return err
	}
	p := w.proxies[i]
	w.proxies = slices.Delete(w.proxies, i, i+1)
	w.admin.SetEndpoints(w.cluster.Endpoints()...)
	return p.Close()
}

// addMember adds a member and makes the tested clients use it: by setting its
// endpoint, or by a Sync of a client that knows only the first other member.
func (w *world) addMember(sync bool) error {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	m, err := w.cluster.Add(ctx)
	if err != nil {
		return err
	}
	p, err := etcdtest.NewProxy(m.Endpoints()[0])
	if err != nil {
		return err
	}
	w.proxies = append(w.proxies, p)
	w.admin.SetEndpoints(w.cluster.Endpoints()...)
	if err := w.oracle.join(w, m); err != nil {
		return err
	}
	if !sync {
		return w.endpoints(w.config().Endpoints)
	}
	if err := w.endpoints(w.config().Endpoints[:1]); err != nil {
		return err
	}
	for _, s := range w.stores {
		if err := s.Sync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// endpoints sets new endpoints on the tested clients.
func (w *world) endpoints(list []string) error {
	for _, s := range w.stores {
		if err := s.SetEndpoints(list); err != nil {
			return err
		}
	}
	return nil
}

// refuseForeign points a client that knows the cluster at the foreign one.
func (w *world) refuseForeign(other *etcdtest.Server) error {
	s, err := store.Drivers[w.client](w.config())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if _, err := s.Get(ctx, "k", false); err != nil {
		return err
	}
	if err := s.SetEndpoints(other.Endpoints()); err != nil {
		return err
	}
	_, err = s.Get(ctx, "k", false)
	w.tried("a foreign cluster", err, "to cluster")
	return nil
}

// refuseCertificate points a client that trusts another authority at a server.
func (w *world) refuseCertificate() (err error) {
	server, err := etcdtest.NewProcess(etcdtest.Config{LogLevel: "error", TLS: etcdtest.ServerTLS})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	ca, err := etcdtest.NewCA()
	if err != nil {
		return err
	}
	var config *tls.Config
	if config, err = ca.ClientTLS(); err != nil {
		return err
	}
	s, err := store.Drivers[w.client](store.Config{Endpoints: server.Endpoints(), TLS: config, Names: w.names})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	_, err = s.Get(ctx, "k", false)
	w.tried("a wrong certificate", err, "certificate")
	return nil
}

// tried records an attempt that must be refused.
func (w *world) tried(what string, err error, says string) {
	x := history.Refusal{What: what, Refused: err != nil}
	if err != nil {
		x.Error, x.Named = err.Error(), strings.Contains(err.Error(), says)
	}
	w.rec.Change(func(r *history.Run) { r.Refused = append(r.Refused, x) })
}
