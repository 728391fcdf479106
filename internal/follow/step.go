package follow

import "silly.store/etcd"

// Step is what [Follower.Next] returns: the state was the store's at one revision, and
// with the Changes it is the store's at Revision.
type Step struct {
	Kind Kind
	// Revision is the store's revision of which the state is now. Within an epoch it never
	// falls.
	Revision int64
	// Epoch counts the histories of the store that were seen, from 1. It rises when the
	// cluster was restored from a backup; then Revision may fall.
	Epoch int
	// Changes are in the order in which they happened; those of a snapshot and of a
	// resynchronization in that of their keys.
	Changes []Change
}

// Kind is why there is a [Step].
type Kind uint8

const (
	// Snapshot is the first step: Changes has every pair of the range, as created.
	Snapshot Kind = iota
	// Changed is one revision of the store. It may be without Changes.
	Changed
	// Progressed has no Changes: nothing has changed up to Revision. Only with
	// Config.Progress.
	Progressed
	// Resynced: history was lost, and Changes are the differences between what was handed
	// on and what is there. Several changes of a key are one, or two where the key was
	// deleted and created again. There may be none.
	Resynced
)

func (k Kind) String() string {
	return [...]string{"snapshot", "changed", "progressed", "resynced"}[k]
}

// Change is one change of a key. At least one of Old and New is set. Both belong to
// their holder, share no memory with a response, and are never written to again.
type Change struct {
	// Old is the pair before, as it was handed on; nil: the key is created.
	Old *etcd.KeyValue
	// New is the pair after; nil: the key is deleted.
	New *etcd.KeyValue
}

// Key is the key that changes.
func (c Change) Key() string {
	if c.New != nil {
		return c.New.Key
	}
	return c.Old.Key
}

// appendChange appends the change from old to kv. A key with another create revision has
// been deleted in between, which is a separate change.
func appendChange(changes []Change, old, kv *etcd.KeyValue) []Change {
	if old != nil && kv != nil && old.CreateRevision != kv.CreateRevision {
		return append(changes, Change{Old: old}, Change{New: kv})
	}
	return append(changes, Change{Old: old, New: kv})
}

// owned is a copy of kv that keeps nothing of a response in memory. old is the pair before
// or nil; they share the key.
func owned(kv *etcd.KeyValue, old *etcd.KeyValue) *etcd.KeyValue {
	if old == nil {
		c := kv.Clone()
		return &c
	}
	c := *kv
	c.Key = ""
	c = c.Clone()
	c.Key = old.Key
	return &c
}
