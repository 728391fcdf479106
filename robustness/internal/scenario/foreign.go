package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// foreignScenarios are about endpoints that are not to be used.
var foreignScenarios = []Scenario{
	{
		Number: 32, Name: "foreign", About: "a member of another cluster comes and goes among the endpoints, which are synced; mixed calls", Quick: true,
		Judged: []string{"I1", "I2", "I8", "I11"}, Time: 45 * time.Second, Least: history.Amount{Faults: 5, Calls: 5_000},
		run: foreign,
	},
}

func foreign(w *world) (err error) {
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
	own := w.config().Endpoints
	return underKeys(cycle{name: "foreign endpoint", gap: 3 * time.Second, hold: 3 * time.Second, inject: func(w *world, n int) (func() error, error) {
		heal := func() error { return w.endpoints(n%2 == 1, own) }
		return heal, w.endpoints(false, append(other.Endpoints(), own...))
	}})(w)
}

// endpoints gives the tested clients other endpoints, and has them look for more.
func (w *world) endpoints(sync bool, list []string) error {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	for _, s := range w.stores {
		if err := s.SetEndpoints(list); err != nil {
			return err
		}
		if !sync {
			continue
		}
		if err := s.Sync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// refuseForeign has a client that knows the cluster meet only the other one.
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

// refuseCertificate has a client that trusts another authority meet a server.
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

// tried records that something was used that must be refused.
func (w *world) tried(what string, err error, says string) {
	x := history.Refusal{What: what, Refused: err != nil}
	if err != nil {
		x.Error, x.Named = err.Error(), strings.Contains(err.Error(), says)
	}
	w.rec.Change(func(r *history.Run) { r.Refused = append(r.Refused, x) })
}
