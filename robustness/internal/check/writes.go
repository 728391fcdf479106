package check

import (
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// Own is the prefix of the keys that the harness itself writes.
const Own = "~"

// foreign reports whether a key is written otherwise than by the calls of a history: by the
// harness, or by those who hold locks or make exact writes.
func foreign(key string) bool {
	for _, prefix := range []string{Own, history.Locks, history.Fences, history.Sessions, history.Exact, history.Writers} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// writes is I2.
func writes(r *history.Run, t *truth, f *Finding) {
	known := make(map[string]bool)
	possible := make(map[string]int)
	for c := range calls(r) {
		switch {
		case c.Kind == history.Delete && c.Fate == history.Unknown:
			f.Checked++
			possible[c.Key]++
		case c.Value != "":
			f.Checked++
			known[c.Value] = true
			written(c, t, f)
		}
	}
	for value, of := range t.values {
		if e := &t.events[of[0]]; !known[value] && !foreign(e.Key) {
			f.broken(e.At, "revision %d puts %q to %q, but no call wrote it", e.Revision, value, e.Key)
		}
	}
	for i := range r.Leases {
		possible[r.Leases[i].Key]++ // the end of the lease deletes its key
	}
	if r.Before != nil {
		for i := range r.Before.Leases {
			possible[r.Before.Leases[i].Key]++
		}
	}
	shared := manyPrefixes(r) // a deletion of such a key can't be attributed
	for key, n := range unclaimedDeletes(r, t) {
		if n > possible[key] && !foreign(key) && !shared(key) {
			f.broken(0, "%q was deleted %d times more than calls account for", key, n-possible[key])
		}
	}
}

// written checks how often a value was put.
func written(c *history.Call, t *truth, f *Finding) {
	times, revision := 0, int64(0)
	for _, i := range t.values[c.Value] {
		e := &t.events[i]
		if e.Revision != revision {
			times++
			revision = e.Revision
		}
		if c.Kind != history.Many && e.Key != c.Key {
			f.broken(c.Ended, "%q was put to %q instead of %q", c.Value, e.Key, c.Key)
		}
	}
	switch {
	case c.Fate == history.Done && c.Kind == history.Swap && !c.Matched && times > 0:
		f.broken(c.Ended, "%s of %q did not match and was applied", c.Kind, c.Value)
	case c.Fate == history.Done && (c.Kind != history.Swap || c.Matched) && times != 1:
		f.broken(c.Ended, "%s of %q succeeded and was applied %d times", c.Kind, c.Value, times)
	case c.Fate == history.NotApplied && times > 0:
		f.broken(c.Ended, "%s of %q was reported not applied (%s) but was applied at revision %d", c.Kind, c.Value, c.Error, revision)
	case times > 1:
		f.broken(c.Ended, "%s of %q was applied %d times", c.Kind, c.Value, times)
	}
}
