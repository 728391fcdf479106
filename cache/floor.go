package cache

// floor is the highest revision that an answer of the server's has shown to a reader of the
// cache in a history. No later answer may be older, except those of Peek and Local.
type floor struct {
	epoch    int
	revision int64
}

// of is the revision that p must have at least. The history that is read first is the one
// that the server has answered from before.
func (f *floor) of(p *published) int64 {
	if f == nil || f.epoch != p.epoch && (f.epoch != 0 || p.epoch != 1) {
		return 0
	}
	return f.revision
}

// shown notes an answer of the server's. p was published when it was asked for.
func (ca *Cache) shown(p *published, revision int64) {
	for {
		old := ca.floor.Load()
		if old != nil && (old.epoch > p.epoch || old.epoch == p.epoch && old.revision >= revision) {
			return
		}
		if ca.floor.CompareAndSwap(old, &floor{p.epoch, revision}) {
			return
		}
	}
}
