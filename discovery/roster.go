package discovery

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// roster has the instances that a watch has found, and those that it keeps although their
// key is gone. It has no clock: callers pass the time.
type roster struct {
	removeDelay time.Duration
	minKeep     float64

	present     map[string]Instance // by key
	gone        map[string]gone     // by key
	undecodable map[string]bool
	sizes       []size // of the sets that were shown, in order of time
}

// gone is an instance whose key is gone.
type gone struct {
	instance Instance
	at       time.Time
	until    time.Time // it stays so long in any case
}

type size struct {
	at time.Time
	n  int
}

const (
	// keepWindow is how far back the set is that MinKeep is a share of.
	keepWindow = time.Minute
	// resetDelay is how long instances stay that a store has lost by being restored from a
	// backup: they are probably there, and will register again.
	resetDelay = 30 * time.Second
)

func newRoster(removeDelay time.Duration, minKeep float64) *roster {
	return &roster{
		removeDelay: removeDelay, minKeep: minKeep,
		present: make(map[string]Instance), gone: make(map[string]gone), undecodable: make(map[string]bool),
	}
}

func (r *roster) add(key string, i Instance) {
	delete(r.gone, key)
	delete(r.undecodable, key)
	r.present[key] = i
}

// unreadable notes that the value of a key says nothing. What it said before no longer holds.
func (r *roster) unreadable(key string, now time.Time) {
	r.remove(key, now, false)
	r.undecodable[key] = true
}

// remove notes that a key is gone. reset: because the store was restored.
func (r *roster) remove(key string, now time.Time, reset bool) {
	delete(r.undecodable, key)
	i, ok := r.present[key]
	if !ok {
		return
	}
	delete(r.present, key)
	delay := r.removeDelay
	if reset {
		delay = max(delay, resetDelay)
	}
	r.gone[key] = gone{i, now, now.Add(delay)}
}

// show returns the instances at a time, how many of them are kept, and when that changes by
// itself; zero: it does not.
func (r *roster) show(now time.Time) (instances []Instance, kept int, next time.Time) {
	keep, over := r.sort(now)
	missing := r.least(now) - len(r.present) - len(keep)
	for i, key := range over { // the latest first
		if i < missing {
			keep = append(keep, key)
		} else {
			delete(r.gone, key)
		}
	}
	instances = slices.AppendSeq(make([]Instance, 0, len(r.present)+len(keep)), maps.Values(r.present))
	for _, key := range keep {
		g := r.gone[key]
		instances = append(instances, g.instance)
		if g.until.After(now) {
			next = earlier(next, g.until)
		}
	}
	slices.SortFunc(instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	r.record(now, len(instances))
	if missing > 0 && len(r.sizes) > 1 {
		next = earlier(next, r.sizes[1].at.Add(keepWindow))
	}
	return instances, len(keep), next
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// sort tells the instances that stay in any case from those that need not, of which the ones
// that have gone last come first.
func (r *roster) sort(now time.Time) (keep, over []string) {
	for key, g := range r.gone {
		if g.until.After(now) {
			keep = append(keep, key)
		} else {
			over = append(over, key)
		}
	}
	slices.SortFunc(over, func(a, b string) int {
		return cmp.Or(r.gone[b].at.Compare(r.gone[a].at), cmp.Compare(a, b))
	})
	return keep, over
}

// least is how many instances must be shown.
func (r *roster) least(now time.Time) int {
	if r.minKeep == 0 {
		return 0
	}
	for len(r.sizes) > 1 && !r.sizes[1].at.After(now.Add(-keepWindow)) {
		r.sizes = r.sizes[1:]
	}
	most := 0
	for _, s := range r.sizes {
		most = max(most, s.n)
	}
	return int(math.Ceil(r.minKeep*float64(most) - 1e-9))
}

func (r *roster) record(now time.Time, n int) {
	if r.minKeep == 0 || len(r.sizes) > 0 && r.sizes[len(r.sizes)-1].n == n {
		return
	}
	r.sizes = append(r.sizes, size{now, n})
}
