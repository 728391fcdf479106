package etcd

import (
	"errors"
	"fmt"
)

// endOfKeys is how etcd's range_end says "to the last key".
const endOfKeys = "\x00"

// interval turns the four fields that name a range into etcd's key and range_end.
// The range may be empty: etcd answers a read, a deletion and a compare of one.
func interval(key string, prefix, fromKey bool, rangeEnd string) (first, end string, err error) {
	switch {
	case prefix && fromKey:
		return "", "", errors.New("Prefix and FromKey are both set; use one")
	case prefix && rangeEnd != "":
		return "", "", errors.New("Prefix and RangeEnd are both set; use one")
	case fromKey && rangeEnd != "":
		return "", "", errors.New("FromKey and RangeEnd are both set; use one")
	case key == "" && (prefix || fromKey):
		return endOfKeys, endOfKeys, nil
	case key == "":
		return "", "", errors.New("Key is empty; set Prefix or FromKey to mean all keys")
	case prefix:
		return key, prefixEnd(key), nil
	case fromKey:
		return key, endOfKeys, nil
	}
	return key, rangeEnd, nil
}

// filledInterval is interval for a request that etcd refuses when its range is empty.
func filledInterval(key string, prefix, fromKey bool, rangeEnd string) (first, end string, err error) {
	first, end, err = interval(key, prefix, fromKey, rangeEnd)
	if err == nil && emptyInterval(first, end) {
		err = fmt.Errorf("RangeEnd %q is not above Key %q, so the range is empty", end, first)
	}
	return first, end, err
}

// allKeys reports whether every key lies in a range of etcd's: none is before "\x00".
func allKeys(first, end string) bool {
	return first == "\x00" && end == endOfKeys
}

// emptyInterval reports whether no key can lie in a range of etcd's.
func emptyInterval(first, end string) bool {
	return end != "" && end != endOfKeys && end <= first
}

// prefixEnd is the first key behind all those that begin with prefix.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return endOfKeys // all bytes are 0xff: nothing but the last key bounds it
}
