package cache

import (
	"math/bits"
	"sync/atomic"
)

// table finds the newest version of a key by a hash, for readers that take no lock, beside
// one writer. A slot belongs to one key for as long as the table exists; the next table
// leaves the deleted keys out.
type table struct {
	slots []slot

	// The writer's own:

	used int // slots that have a key
	dead int // of these, keys that do not exist
}

// slot has a key if its hash is not 0. The key and a version are set before the hash, and the
// key stays. It is here, and not only in the version, so that a reader's processor can load it
// and the version at the same time: with many keys neither is in its caches.
type slot struct {
	hash    atomic.Uint64
	version atomic.Pointer[version]
	key     string
}

// newTable has room for n keys, and some more.
func newTable(n int) *table { return &table{slots: make([]slot, n+n*3/5+16)} }

// find returns the newest version of a key, or nil.
func (t *table) find(hash uint64, key string) *version {
	for i := t.home(hash); ; i++ {
		if i == len(t.slots) {
			i = 0
		}
		switch t.slots[i].hash.Load() {
		case 0:
			return nil
		case hash:
			if s := &t.slots[i]; s.key == key {
				return s.version.Load()
			}
		}
	}
}

// home is where the search for a hash begins.
func (t *table) home(hash uint64) int {
	high, _ := bits.Mul64(hash, uint64(len(t.slots)))
	return int(high) // below len
}

// slot returns that of a key, or the one where it belongs.
func (t *table) slot(hash uint64, key string) *slot {
	for i := t.home(hash); ; i++ {
		if i == len(t.slots) {
			i = 0
		}
		s := &t.slots[i]
		switch s.hash.Load() {
		case 0:
			return s
		case hash:
			if s.key == key {
				return s
			}
		}
	}
}

// put makes v the newest version of its key.
func (t *table) put(hash uint64, v *version) {
	s := t.slot(hash, v.kv.Key)
	old := s.version.Load()
	if old != nil && old.absent() {
		t.dead--
	}
	if v.absent() {
		t.dead++
	}
	s.version.Store(v)
	if old == nil {
		t.used++
		s.key = v.kv.Key
		s.hash.Store(hash)
	}
}

// isFull reports whether it is time for another table: the searches get long, or too many
// keys do not exist.
func (t *table) isFull() bool { return t.used > len(t.slots)/10*7 || t.dead > t.used/4+64 }
