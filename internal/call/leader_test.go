package call

import "testing"

// The leader is the member that the answer with the highest term names, and only
// once that member has answered.
func TestLeaderOf(t *testing.T) {
	one := &probeResult{endpoint: "1", member: 1, leader: 2, term: 5}
	two := &probeResult{endpoint: "2", member: 2, leader: 2, term: 5}
	late := &probeResult{endpoint: "3", member: 3, leader: 1, term: 4}
	unsure := &probeResult{endpoint: "4", member: 4, term: 6}
	for name, test := range map[string]struct {
		seen []*probeResult
		term uint64
		want *probeResult
	}{
		"nobody has answered":             {nil, 0, nil},
		"the leader has not":              {[]*probeResult{one}, 5, nil},
		"the leader has":                  {[]*probeResult{one, two}, 5, two},
		"one that is behind names no one": {[]*probeResult{late, two, one}, 0, two},
		"all are behind what was heard":   {[]*probeResult{one, two}, 6, nil},
		"one knows no leader":             {[]*probeResult{unsure, one, two}, 5, two},
	} {
		if got := leaderOf(test.seen, test.term); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
