package queue

import (
	"testing"
	"time"
)

// A place is what its key says, and keys are in the order in which items are taken.
func TestPlaceKeys(t *testing.T) {
	t.Parallel()
	places := []place{
		{id: "a", priority: maxPriority}, {id: "b", priority: 1, at: 5}, {id: "a/b", priority: 1, at: 6}, {id: "c", priority: 1, at: 6},
		{id: "\x00/", priority: 0, at: 0x7fffffff}, {id: "x", priority: minPriority, at: latest.UnixMicro()},
		{id: "later", priority: 3, at: time.Now().UnixMicro(), delayed: true},
	}
	last := ""
	for i, p := range places {
		key := p.key("")
		got, ok := placeOf(key)
		if !ok || got != p {
			t.Errorf("%q is %+v, want %+v", key, got, p)
		}
		if i > 0 && !p.delayed && (key <= last || !places[i-1].before(p) || p.before(places[i-1])) {
			t.Errorf("%q comes after %q", key, last)
		}
		last = key
	}
	for _, bad := range []string{"", "i/", "i/0000/00000000000001/", "i/0000", "t/00000000000001/0000/", "i/00g0/00000000000001/a", "c/a", "i/-001/00000000000001/a"} {
		if p, ok := placeOf(bad); ok {
			t.Errorf("%q is %+v", bad, p)
		}
	}
}

// States of both kinds are read as they are written, and what is none does no harm.
func TestStates(t *testing.T) {
	t.Parallel()
	if got := attemptsOf(state(7)); got != 7 {
		t.Error(got)
	}
	if a, p := deadStateOf(deadState(3, minPriority)); a != 3 || p != minPriority {
		t.Error(a, p)
	}
	for _, bad := range []string{"", "x", "-1", "1 40000", "99999999999999999999"} {
		if a, p := deadStateOf([]byte(bad)); a < 0 || a > 1 || p != 0 {
			t.Errorf("%q: %d, %d", bad, a, p)
		}
	}
}
