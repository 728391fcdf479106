package scenario

import (
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
)

func TestRegistry(t *testing.T) {
	names, numbers := make(map[string]bool), make(map[int]bool)
	for _, s := range All() {
		if names[s.Name] || numbers[s.Number] {
			t.Errorf("%d %s is there twice", s.Number, s.Name)
		}
		names[s.Name], numbers[s.Number] = true, true
		for _, i := range s.Judged {
			if check.Meaning[i] == "" {
				t.Errorf("%s is judged by %s, which there is not", s.Name, i)
			}
		}
		if s.run == nil || s.Time <= 0 || s.About == "" || len(s.Judged) == 0 || s.Least.Faults == 0 {
			t.Errorf("%s lacks something: %+v", s.Name, s)
		}
	}
	found, err := Find([]string{"33", "stall"})
	if err != nil || len(found) != 2 || found[0].Name != "open-close" || found[1].Number != 8 {
		t.Errorf("found %+v, %v", found, err)
	}
}

// A shorter run needs less, a longer one no more, and the minimum is never zero.
func TestLeast(t *testing.T) {
	s := Scenario{Time: time.Minute, Least: history.Amount{Faults: 6, Calls: 1000}}
	for d, want := range map[time.Duration]history.Amount{
		time.Minute:      {Faults: 6, Calls: 1000},
		30 * time.Second: {Faults: 3, Calls: 500},
		time.Second:      {Faults: 1, Calls: 16},
		time.Hour:        {Faults: 6, Calls: 1000},
	} {
		if got := s.least(d); got != want {
			t.Errorf("%v needs %+v, want %+v", d, got, want)
		}
	}
}
