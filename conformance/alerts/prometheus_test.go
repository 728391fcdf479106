package alerts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// interval is that of scrapes and evaluations: what most installations have.
const interval = 15 * time.Second

// server is a Prometheus that scrapes one registry and evaluates the rules, whenever the
// test says that an interval has passed. Its clock is the test's, so that nobody waits for
// the minutes in a rule.
type server struct {
	t      testing.TB
	target prometheus.Gatherer
	engine *promql.Engine
	rules  []rulefmt.Rule

	now    time.Time
	series map[uint64]*promql.Series
	since  map[string]time.Time // by rule and labels: since when each has had a result
}

// prometheusOf has the rules that are shipped.
func prometheusOf(t testing.TB, target prometheus.Gatherer) *server {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../../prom/alerts.yaml", false, model.UTF8Validation)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	s := &server{
		t: t, target: target, engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute}),
		now: time.Unix(1e9, 0), series: make(map[uint64]*promql.Series), since: make(map[string]time.Time),
	}
	for _, g := range groups.Groups {
		s.rules = append(s.rules, g.Rules...)
	}
	return s
}

// alert is a rule that fires.
type alert struct {
	rule   rulefmt.Rule
	labels labels.Labels
}

// step lets an interval pass, and returns what fires at its end.
func (s *server) step() (firing []alert) {
	s.t.Helper()
	s.now = s.now.Add(interval)
	s.scrape()
	for i := range s.rules {
		firing = append(firing, s.evaluate(&s.rules[i])...)
	}
	return firing
}

// until lets intervals pass until one alert of that name fires, or an hour has passed. All
// others that fire meanwhile are strangers.
func (s *server) until(name string) (found alert, strangers []string) {
	s.t.Helper()
	for end := s.now.Add(time.Hour); s.now.Before(end); {
		for _, a := range s.step() {
			switch {
			case a.rule.Alert == name:
				found = a
			case !slices.Contains(strangers, a.rule.Alert):
				strangers = append(strangers, a.rule.Alert)
			}
		}
		if found.rule.Alert != "" {
			break
		}
	}
	return found, strangers
}

func (s *server) scrape() {
	s.t.Helper()
	families, err := s.target.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(s.now.UnixNano())}, families...)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sample := range samples {
		b := labels.NewBuilder(labels.FromStrings("instance", "program:9090", "job", "program"))
		for name, value := range sample.Metric {
			b.Set(string(name), string(value))
		}
		metric := b.Labels()
		known := s.series[metric.Hash()]
		if known == nil {
			known = &promql.Series{Metric: metric}
			s.series[metric.Hash()] = known
		}
		known.Floats = append(known.Floats, promql.FPoint{T: s.now.UnixMilli(), F: float64(sample.Value)})
	}
}

// evaluate returns what fires of a rule: each result that there has been for as long as the
// rule asks.
func (s *server) evaluate(rule *rulefmt.Rule) (firing []alert) {
	s.t.Helper()
	query, err := s.engine.NewInstantQuery(s.t.Context(), s, nil, rule.Expr, s.now)
	if err != nil {
		s.t.Fatal(rule.Alert, err)
	}
	defer query.Close()
	result, err := query.Exec(s.t.Context()).Vector()
	if err != nil {
		s.t.Fatal(rule.Alert, err)
	}
	active := make(map[string]bool)
	for _, r := range result {
		key := fmt.Sprint(rule.Alert, r.Metric)
		active[key] = true
		if _, ok := s.since[key]; !ok {
			s.since[key] = s.now
		}
		if s.now.Sub(s.since[key]) >= time.Duration(rule.For) {
			firing = append(firing, alert{*rule, r.Metric})
		}
	}
	for key := range s.since {
		if len(key) > len(rule.Alert) && key[:len(rule.Alert)] == rule.Alert && !active[key] {
			delete(s.since, key)
		}
	}
	return firing
}

// Querier implements storage.Queryable.
func (s *server) Querier(_, _ int64) (storage.Querier, error) {
	return querier{storage.NoopQuerier(), s.series}, nil
}

type querier struct {
	storage.Querier
	series map[uint64]*promql.Series
}

// Select implements storage.Querier.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &selection{SeriesSet: storage.EmptySeriesSet()}
	for _, s := range q.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
			found.series = append(found.series, promql.NewStorageSeries(*s))
		}
	}
	return found
}

// selection is a storage.SeriesSet of what is in memory.
type selection struct {
	storage.SeriesSet
	series []storage.Series
	at     int
}

// Next implements storage.SeriesSet.
func (s *selection) Next() bool { s.at++; return s.at <= len(s.series) }

// At implements storage.SeriesSet.
func (s *selection) At() storage.Series { return s.series[s.at-1] }
