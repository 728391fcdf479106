package report

import (
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
)

// soaked is a soak of one round without violations.
func soaked() *Soak {
	r := outage()
	r.Watches = []*history.Watch{{Responses: []history.Response{{Events: make([]history.Event, 3)}}}}
	r.Leases = []history.Lease{{ID: 1}, {ID: 2, Key: "l", Lost: 5000 * ms}}
	r.Truth = []history.Event{{Revision: 2, Key: "l"}, {Revision: 3, Key: "l", Delete: true, At: 5250 * ms}}
	s := &Soak{Client: "ours", Seed: 7, Asked: time.Minute, Faults: make(map[string]int)}
	s.Add(r, []check.Finding{{Invariant: "I1", Checked: 10}})
	s.Point(r, 0).Heap = 3 << 20
	s.Usage = []history.Usage{{What: "heap bytes", Before: 100, After: 104, Most: 105}}
	return s
}

func TestSoakPasses(t *testing.T) {
	s := soaked()
	if why := s.Failed(); len(why) > 0 {
		t.Errorf("failed: %q", why)
	}
	var text strings.Builder
	if err := s.Markdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PASS", "seed 7", "| faults | 1 |", "| calls | 1000 |", "90.00 % of 1000", "| watch events | 3 |", "| leases lost | 1 |", "by at least | 250ms |",
		"100, 104 (+4.0 %)", "| down | 1 |", "| I1 | 0 of 10 |", "| 1 | 1 | 90 | 1ms | 1ms | 100 | 3.0 |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
}

func TestSoakFails(t *testing.T) {
	for says, spoil := range map[string]func(*Soak){
		"I3 broken 2 times": func(s *Soak) {
			s.Findings = check.Add(s.Findings, []check.Finding{{Invariant: "I3", Checked: 5, Count: 2}})
		},
		"grew by +6.0 %": func(s *Soak) { s.Usage[0].After = 106 },
		"no leader":      func(s *Soak) { s.Failures = []string{"no leader"} },
		"100 of 200 answered": func(s *Soak) {
			r := outage()
			r.Faults[0].OneMember = true
			s.Add(r, nil)
		},
		"no fault":         func(s *Soak) { clear(s.Faults) },
		"too few to prove": func(s *Soak) { s.Events = 0 },
		"not measured":     func(s *Soak) { s.Usage = nil },
	} {
		s := soaked()
		spoil(s)
		var text strings.Builder
		if err := s.Markdown(&text); err != nil {
			t.Fatal(err)
		}
		if why := strings.Join(s.Failed(), "; "); !strings.Contains(why, says) || !strings.Contains(text.String(), "FAIL") {
			t.Errorf("failed because of %q, want %q", why, says)
		}
	}
}

// However long the soak runs, the series stays short and covers all of it.
func TestSoakSeries(t *testing.T) {
	s := &Soak{Faults: make(map[string]int)}
	r := outage()
	for range 1000 {
		s.Rounds++
		s.Point(r, 0)
	}
	n := len(s.Series)
	if n > mostPoints || n < mostPoints/4 || s.Series[n-1].Round < 950 || s.Series[0].Round > 50 {
		t.Errorf("%d points from %d to %d", n, s.Series[0].Round, s.Series[n-1].Round)
	}
}
