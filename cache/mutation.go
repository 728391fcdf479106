package cache

import (
	"hash/maphash"
	"sync"
)

// sums finds who writes into values of the cache, for Config.OnMutation. A nil *sums does
// nothing.
type sums struct {
	seed   maphash.Seed
	report func(key string)

	mu sync.Mutex // guards the field below
	of map[*version]uint64
}

func newSums(report func(string)) *sums {
	return &sums{seed: maphash.MakeSeed(), report: report, of: make(map[*version]uint64)}
}

func (s *sums) sum(v *version) uint64 { return maphash.Bytes(s.seed, v.kv.Value) }

func (s *sums) add(v *version) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[v] = s.sum(v)
}

// check reports the key of a version whose value is not what it was, once.
func (s *sums) check(v *version) {
	if s == nil || v == nil {
		return
	}
	s.mu.Lock()
	was, ok := s.of[v]
	changed := ok && was != s.sum(v)
	if changed {
		delete(s.of, v)
	}
	s.mu.Unlock()
	if changed {
		s.report(v.kv.Key)
	}
}

// remove checks a version for the last time.
func (s *sums) remove(v *version) {
	if s == nil {
		return
	}
	s.check(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, v)
}

func (s *sums) checkAll(all pairs) {
	if s == nil {
		return
	}
	for v := range all.Ascend("") {
		s.check(v)
	}
}
