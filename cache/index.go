package cache

import "hash/maphash"

// index is the writer's side of the table. When a table is full, the next one is filled a few
// slots at a time, so that no publication waits for that; the first publication after it is
// complete uses it. Readers of earlier publications go on with the old one, which no longer
// changes.
//
// # Why a reader finds what its publication shows
//
//   - A version is in the table before its publication is visible. Readers of the one
//     before find its position above theirs, and take prev.
//   - prev is not above the last publication: of several versions of a key in one publication,
//     the last one takes the prev of those before it.
//   - prev is cleared when the publication is visible, so that old versions don't stay. A
//     reader that finds none, or one that is above its publication, has been overtaken, and
//     looks at the latest publication.
//   - A key is never taken out of a table. So a reader that finds none has not missed one.
type index struct {
	seed      maphash.Seed
	now, next *table // next: nil unless it is being filled
	moved     int    // slots of now that next has
	installed []*version
}

func hashOf(seed maphash.Seed, key string) uint64 { return max(maphash.String(seed, key), 1) }

// install shows a version to readers of the next publication. last is the position of the
// last publication.
func (x *index) install(v *version, last uint64) {
	hash := hashOf(x.seed, v.kv.Key)
	prev := x.now.find(hash, v.kv.Key)
	switch {
	case prev == nil:
		prev = noVersion
	case prev.position > last:
		prev = prev.prev.Load()
	}
	v.prev.Store(prev)
	x.now.put(hash, v)
	if x.next != nil {
		x.next.put(hash, v)
	}
	x.installed = append(x.installed, v)
	x.move(last)
}

// movesAtOnce is how many slots the next table gets with each version that is installed.
const movesAtOnce = 16

// move goes on filling the next table, if it is time for one.
func (x *index) move(last uint64) {
	if x.next == nil {
		if !x.now.isFull() {
			return
		}
		x.next, x.moved = newTable(x.now.used-x.now.dead), 0
	}
	for range movesAtOnce {
		if x.moved == len(x.now.slots) {
			x.now, x.next = x.next, nil
			return
		}
		s := &x.now.slots[x.moved]
		x.moved++
		hash, v := s.hash.Load(), s.version.Load()
		if hash == 0 || v.absent() && v.position <= last {
			continue
		}
		x.next.put(hash, v)
	}
}

// published forgets what readers of earlier publications see.
func (x *index) published() {
	for i, v := range x.installed {
		v.prev.Store(nil)
		x.installed[i] = nil
	}
	x.installed = x.installed[:0]
	if cap(x.installed) > mostRevisions*10 {
		x.installed = nil
	}
}

// find returns what a publication shows of a key, nil if there is no such key. It fails when
// the publication has been overtaken.
func (p *published) find(hash uint64, key string) (v *version, ok bool) {
	v = p.table.find(hash, key)
	if v == nil {
		return nil, true
	}
	for v.position > p.position {
		if v = v.prev.Load(); v == nil {
			return nil, false
		}
	}
	if v.absent() {
		return nil, true
	}
	return v, true
}

// get is find for a publication that may have been overtaken.
func (p *published) get(hash uint64, key string) *version {
	if v, ok := p.find(hash, key); ok {
		return v
	}
	return p.pairs.Get(key)
}
