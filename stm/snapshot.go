package stm

import (
	"cmp"
	"slices"
	"strings"

	"silly.store/etcd"
)

// snapshot is a part of the store's state at one revision: what was read of it.
type snapshot struct {
	revision int64 // 0 as long as nothing was read
	keys     map[string]etcd.KeyValue
	ranges   map[string][]etcd.KeyValue // by prefix, in order of the keys
}

// addKey adds the answer to a Get of a key, and returns the key, which is the zero
// KeyValue if it does not exist.
func (s *snapshot) addKey(key string, resp *etcd.GetResponse) etcd.KeyValue {
	if s.keys == nil {
		s.keys = make(map[string]etcd.KeyValue)
	}
	kv, _ := resp.First()
	s.keys[key] = kv
	return kv
}

// addPair adds a key that is known, the zero KeyValue if it does not exist.
func (s *snapshot) addPair(key string, kv etcd.KeyValue) {
	if s.keys == nil {
		s.keys = make(map[string]etcd.KeyValue)
	}
	s.keys[key] = kv
}

// addRange adds the answer to a Get of all keys below a prefix, and returns the keys.
func (s *snapshot) addRange(prefix string, resp *etcd.GetResponse) []etcd.KeyValue {
	if s.ranges == nil {
		s.ranges = make(map[string][]etcd.KeyValue)
	}
	s.ranges[prefix] = resp.KVs
	return resp.KVs
}

// key returns the key as it was at the revision, the zero KeyValue if it did not exist.
// known reports whether that was read.
func (s *snapshot) key(key string) (kv etcd.KeyValue, known bool) {
	if kv, known = s.keys[key]; known {
		return kv, true
	}
	kvs, known := s.keysBelow(key)
	if len(kvs) > 0 && kvs[0].Key == key {
		return kvs[0], true
	}
	return etcd.KeyValue{}, known
}

// keysBelow returns the keys that begin with prefix, in order. known reports whether
// all of them were read.
func (s *snapshot) keysBelow(prefix string) (kvs []etcd.KeyValue, known bool) {
	for wider, kvs := range s.ranges {
		if strings.HasPrefix(prefix, wider) {
			return within(kvs, prefix), true
		}
	}
	return nil, false
}

// within returns the part of kvs that begins with prefix.
func within(kvs []etcd.KeyValue, prefix string) []etcd.KeyValue {
	first, _ := slices.BinarySearchFunc(kvs, prefix, func(kv etcd.KeyValue, prefix string) int {
		return cmp.Compare(kv.Key, prefix)
	})
	kvs = kvs[first:]
	for n, kv := range kvs {
		if !strings.HasPrefix(kv.Key, prefix) {
			return kvs[:n]
		}
	}
	return kvs
}
