package cache

import (
	"sync"
	"weak"
)

// maxLagBytes is how many bytes of replaced pairs a subscription may keep in memory.
const maxLagBytes = 64 << 20

// place is the position of a subscription's reader.
type place struct {
	mu   sync.Mutex // guards the fields below
	seen *published
	lost bool // seen has no pairs any more
}

func (p *place) now() *published {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// move returns what the reader has seen before, or nil if that is forgotten.
func (p *place) move(to *published) *published {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, lost := p.seen, p.lost
	p.seen, p.lost = to, false
	if lost {
		return nil
	}
	return before
}

// limit forgets what the reader has seen if it keeps too much. It returns how much that is.
func (p *place) limit(now *published, most int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost || p.seen.epoch == 0 {
		return 0
	}
	lag := now.replaced - p.seen.replaced
	if lag <= most {
		return lag
	}
	p.seen = &published{epoch: p.seen.epoch, revision: p.seen.revision, pairs: emptyPairs()}
	p.lost = true
	return 0
}

// lagging bounds what subscriptions keep. It does not keep the subscriptions, so that they
// need no end.
type lagging struct {
	mu      sync.Mutex // guards the fields below
	places  []weak.Pointer[place]
	checked int64 // replaced bytes when the places were looked at last
}

func (l *lagging) add(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.places) == cap(l.places) {
		l.livingLocked(func(*place) {})
	}
	l.places = append(l.places, weak.Make(p))
}

// check looks at the subscriptions now and then.
func (l *lagging) check(now *published) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.replaced-l.checked < maxLagBytes/8 {
		return
	}
	l.checked = now.replaced
	l.livingLocked(func(p *place) { p.limit(now, maxLagBytes) })
}

// livingLocked calls a function with the places that somebody still has, and forgets the
// others.
func (l *lagging) livingLocked(each func(*place)) {
	living := l.places[:0]
	for _, w := range l.places {
		if p := w.Value(); p != nil {
			living = append(living, w)
			each(p)
		}
	}
	clear(l.places[len(living):])
	l.places = living
}

// retained is what the one that is furthest behind keeps.
func (l *lagging) retained(now *published) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var most int64
	l.livingLocked(func(p *place) { most = max(most, p.limit(now, 1<<62)) })
	return most
}

// drop has all subscriptions forget what they have seen.
func (l *lagging) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.livingLocked(func(p *place) { p.limit(&published{}, -1<<62) })
}
