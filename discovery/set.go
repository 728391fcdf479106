package discovery

import (
	"strings"
	"time"
)

// Set is the instances of a service at one time. It is never written to, and may be read
// concurrently.
type Set struct {
	// Revision is the revision of the store that the set shows; 0: nothing has been read
	// yet.
	Revision int64
	// Instances are in ascending order of their keys.
	Instances []Instance
	// Added are the instances that the reader's last set did not have, Removed those that
	// only that set had, and Updated those whose key was put since, as they are now. In the
	// first set of [Watcher.All] all are added. [Watcher.Current] does not set them.
	Added, Removed, Updated []Instance
	// Kept is how many of Instances no longer have a key, and stay because of
	// WatchConfig.RemoveDelay or MinKeep, or because the store was restored from a backup.
	Kept int
	// Undecodable are the keys whose value the codec cannot decode. They are not among
	// Instances.
	Undecodable []string
	// StaleSince is the time since which etcd cannot be reached and the set may be out of
	// date; zero: it is up to date.
	StaleSince time.Time
}

// since returns the set with what is different from another one.
func (s Set) since(before *Set) Set {
	old, now := before.Instances, s.Instances
	for len(old) > 0 || len(now) > 0 {
		switch order := compare(old, now); {
		case order < 0:
			s.Removed, old = append(s.Removed, old[0]), old[1:]
		case order > 0:
			s.Added, now = append(s.Added, now[0]), now[1:]
		default:
			if old[0].Revision != now[0].Revision {
				s.Updated = append(s.Updated, now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
	return s
}

// compare orders the first instances of two lists. An empty list is behind all others.
func compare(a, b []Instance) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(a[0].ID, b[0].ID) // the service is the same
}

// differs reports whether a reader that has seen the other set should see this one.
func (s *Set) differs(before *Set) bool {
	d := s.since(before)
	return len(d.Added)+len(d.Removed)+len(d.Updated) > 0 || s.Kept != before.Kept ||
		len(s.Undecodable) != len(before.Undecodable) || s.StaleSince.IsZero() != before.StaleSince.IsZero()
}
