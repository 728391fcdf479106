package check

import (
	"fmt"
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// eventText names an event, or says that it is missing.
func eventText(e *history.Event) string {
	switch {
	case e == nil:
		return "nothing"
	case e.Delete:
		return fmt.Sprintf("%q deleted at %d", e.Key, e.Revision)
	}
	return fmt.Sprintf("%q of revision %d (created at %d, version %d, %q)", e.Key, e.Revision, e.Created, e.Version, e.Value)
}

// subscribers is C6.
func subscribers(r *history.Run, t *truth, f *Finding) {
	for _, s := range r.Subscribers {
		f.Checked += len(s.Updates)
		subscriber(s, t, f)
	}
}

// subscriber applies what a subscription has delivered. After each update its state must be
// the store's at that revision: the keys are compared of which either has changes.
func subscriber(s *history.Subscriber, t *truth, f *Finding) {
	has, now := make(map[string]*history.Event), newReplay(t)
	var at int64
	for i := range s.Updates {
		u := &s.Updates[i]
		if u.Revision <= at && i > 0 || u.First != (i == 0) {
			f.broken(u.At, "a subscription to cache %d had update %d of revision %d after %d; first: %v", s.Cache, i, u.Revision, at, u.First)
		}
		at = u.Revision
		touched := make(map[string]bool)
		if u.Again {
			for key := range has {
				touched[key] = true
			}
			clear(has)
		}
		if text := applyTo(has, u, touched); text != "" {
			f.broken(u.At, "a subscription to cache %d had at revision %d %s", s.Cache, u.Revision, text)
		}
		for _, e := range now.to(u.Revision) {
			touched[e.Key] = true
		}
		for key := range touched {
			if strings.HasPrefix(key, s.Prefix) && !equal(has[key], now.is[key]) {
				f.broken(u.At, "a subscription to cache %d has at revision %d %s in place of %s", s.Cache, u.Revision, eventText(has[key]), eventText(now.is[key]))
			}
		}
	}
	switch {
	case s.Final == 0:
	case s.Error != "":
		f.broken(0, "a subscription to cache %d ended: %s", s.Cache, s.Error)
	case at < s.Final:
		f.broken(0, "a subscription to cache %d is at revision %d, and its keys have changed at %d", s.Cache, at, s.Final)
	}
}

func equal(a, b *history.Event) bool {
	if a == nil || b == nil {
		return a == b
	}
	return sameAs(a, b)
}

// applyTo applies an update. Each Old must be what there was.
func applyTo(has map[string]*history.Event, u *history.CacheUpdate, touched map[string]bool) (wrong string) {
	for _, c := range u.Changes {
		of := c.New
		if of == nil {
			of = c.Old
		}
		if of == nil {
			return "a change of nothing"
		}
		touched[of.Key] = true
		if !equal(c.Old, has[of.Key]) && wrong == "" {
			wrong = "a change from " + eventText(c.Old) + " where there was " + eventText(has[of.Key])
		}
		if has[of.Key] = c.New; c.New == nil {
			delete(has, of.Key)
		}
	}
	return wrong
}
