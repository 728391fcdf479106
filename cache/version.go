package cache

import (
	"sync/atomic"

	"silly.store/etcd"
)

// version is a key as it is from one publication to the next that changes it. Only prev and
// decoded change once readers can see it.
type version struct {
	kv       etcd.KeyValue // its Version is 0 if the key does not exist
	position uint64        // the publication with which it comes

	// prev is what readers of earlier publications see: noVersion if the key did not exist,
	// and nil once this version's publication is visible. A reader that finds nil looks at
	// a later publication.
	prev    atomic.Pointer[version]
	decoded atomic.Pointer[decodedList] // of the Typed that have read it
}

// noVersion is before the first version of a key.
var noVersion = new(version)

func (v *version) absent() bool { return v.kv.Version == 0 }

// leftOut is in the place of the decoded values of a version whose value the cache does not
// keep.
var leftOut = new(decodedList)

func (v *version) isLeftOut() bool { return v.decoded.Load() == leftOut }

// overhead is about how much memory a pair takes beyond the bytes of its key and value.
const overhead = 200

func (v *version) bytes() int64 { return int64(len(v.kv.Key) + len(v.kv.Value) + overhead) }
