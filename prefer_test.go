package etcd

import (
	"errors"
	"strings"
	"testing"
)

// The leader is whom the highest term names, and only once it has answered.
func TestLeaderOf(t *testing.T) {
	one := &sighting{endpoint: "1", member: 1, leader: 2, term: 5}
	two := &sighting{endpoint: "2", member: 2, leader: 2, term: 5}
	late := &sighting{endpoint: "3", member: 3, leader: 1, term: 4}
	unsure := &sighting{endpoint: "4", member: 4, term: 6}
	for name, test := range map[string]struct {
		seen []*sighting
		term uint64
		want *sighting
	}{
		"nobody has answered":             {nil, 0, nil},
		"the leader has not":              {[]*sighting{one}, 5, nil},
		"the leader has":                  {[]*sighting{one, two}, 5, two},
		"one that is behind names no one": {[]*sighting{late, two, one}, 0, two},
		"all are behind what was heard":   {[]*sighting{one, two}, 6, nil},
		"one knows no leader":             {[]*sighting{unsure, one, two}, 5, two},
	} {
		if got := leaderOf(test.seen, test.term); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestPreferIsChecked(t *testing.T) {
	_, err := New(Config{Endpoints: []string{"a:1"}, Prefer: 3})
	if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "Config.Prefer is 3") {
		t.Errorf("error %v", err)
	}
}
