package etcdtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// probes asks servers for health and metrics over a separate plain listener, to
// which TLS and authentication of the client listener do not apply. It keeps no
// connections, so a server's end leaves nothing behind.
var probes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// probeLimit bounds one probe: a stopped process never answers.
const probeLimit = time.Second

// askLimit bounds one request about the members, which a stopped process never
// answers either.
const askLimit = 5 * time.Second

// pollInterval is the time between two probes of a wait.
const pollInterval = 20 * time.Millisecond

// Ready waits until the server answers a linearizable read, which means that it can
// reach a leader. It fails early if the process ends.
func (s *Server) Ready(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		s.mu.Lock()
		c := s.child
		s.mu.Unlock()
		if c != nil && !c.running() {
			return &finalError{fmt.Errorf("etcdtest: etcd %s ended (%v); its log:\n%s", s.Name(), c.err, excerpt(s.Log(), 15))}
		}
		return s.healthy(ctx)
	})
}

// healthy probes once. A server with a raised alarm still counts as ready.
func (s *Server) healthy(ctx context.Context) error {
	body, err := s.probe(ctx, "/health?exclude=NOSPACE&exclude=CORRUPT")
	if err != nil {
		return err
	}
	return body.Close()
}

// Metric returns a figure that the server publishes for Prometheus, summed
// over its labels, for example etcd_debugging_mvcc_watcher_total. The embedded
// servers of a process share one set of figures.
func (s *Server) Metric(ctx context.Context, name string) (float64, error) {
	body, err := s.probe(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	sum, found := 0.0, false
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("etcdtest: metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("etcdtest: reading metrics: %w", err)
	}
	if !found {
		return 0, fmt.Errorf("etcdtest: etcd %s has no metric %s", s.Name(), name)
	}
	return sum, nil
}

// id returns the server's member ID in hexadecimal, as etcd writes it.
func (s *Server) id(ctx context.Context) (string, error) {
	body, err := s.probe(ctx, "/metrics")
	if err != nil {
		return "", err
	}
	defer body.Close()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), `etcd_server_id{server_id="`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			return id, nil
		}
	}
	return "", fmt.Errorf("etcdtest: etcd %s does not publish its ID", s.Name())
}

// probe fetches path, and returns the body of a successful answer. The caller
// must close it.
func (s *Server) probe(ctx context.Context, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.home.metrics.String()+path, nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	resp, err := probes.Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("etcdtest: etcd %s answered %s: %s", s.Name(), resp.Status, text)
	}
	return &body{resp.Body, cancel}, nil
}

// body ends its request's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// finalError ends a poll.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// poll calls ask until it succeeds or fails for good, or ctx ends.
func poll(ctx context.Context, ask func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if final := (*finalError)(nil); err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, last answer: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
