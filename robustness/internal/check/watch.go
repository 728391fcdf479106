package check

import (
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// watches is I3.
func watches(r *history.Run, t *truth, f *Finding) {
	for _, w := range r.Watches {
		if w.Confirmed == 0 {
			continue
		}
		c := &watchCheck{run: r, truth: t, w: w, delivery: f, start: new(Finding)}
		c.walk()
	}
}

// starts is I4.
func starts(r *history.Run, t *truth, f *Finding) {
	for _, w := range r.Watches {
		if w.Confirmed == 0 {
			continue
		}
		f.Checked++
		c := &watchCheck{run: r, truth: t, w: w, delivery: new(Finding), start: f}
		c.beginning()
		c.walk()
		c.compaction()
	}
}

// watchCheck compares one watch with the truth.
type watchCheck struct {
	run             *history.Run
	truth           *truth
	w               *history.Watch
	delivery, start *Finding // I3 and I4

	next      int   // index of the next event in the truth
	delivered int64 // revision of the last event
	promised  int64 // progress responses covered everything up to here, or it is before the start
	told      int64 // the last progress response; below the start while the store is there
}

// beginning checks the start that the watch reports.
func (c *watchCheck) beginning() {
	w := c.w
	switch {
	case w.Requested > 0 && w.Start != w.Requested:
		c.start.broken(w.Confirmed, "watch %d was requested from revision %d and starts at %d", w.ID, w.Requested, w.Start)
	case w.Requested == 0 && w.Start <= w.Before:
		c.start.broken(w.Confirmed, "watch %d from now starts at %d, but revision %d existed before", w.ID, w.Start, w.Before)
	}
}

// walk compares the deliveries with the truth.
func (c *watchCheck) walk() {
	w := c.w
	c.next, c.promised = c.truth.from(w.Start), w.Start-1
	for i := range w.Responses {
		resp := &w.Responses[i]
		c.delivery.Checked += len(resp.Events)
		if len(resp.Events) > 0 && i > 0 && resp.Events[0].Revision == c.delivered {
			c.delivery.broken(resp.At, "watch %d got revision %d in two pieces, or twice", w.ID, c.delivered)
		}
		for j := range resp.Events {
			c.event(resp, &resp.Events[j])
		}
		if resp.Progress {
			c.progress(resp)
		}
	}
	c.end()
}

func (c *watchCheck) event(resp *history.Response, e *history.Event) {
	w := c.w
	switch {
	case e.Revision < w.Start:
		c.start.broken(resp.At, "watch %d got revision %d, before its start %d", w.ID, e.Revision, w.Start)
		return
	case !Matches(&w.Filter, e):
		c.delivery.broken(resp.At, "watch %d of %+v got %+v", w.ID, w.Filter, *e)
		return
	case e.Revision < c.delivered:
		c.delivery.broken(resp.At, "watch %d got revision %d after %d", w.ID, e.Revision, c.delivered)
		return
	case e.Revision <= c.promised && e.Revision > c.delivered:
		c.delivery.broken(resp.At, "watch %d got revision %d after progress up to %d", w.ID, e.Revision, c.promised)
	case e.Revision > resp.Revision:
		c.delivery.broken(resp.At, "watch %d got revision %d under a header of %d", w.ID, e.Revision, resp.Revision)
	}
	want := c.skipTo(resp.At, e)
	if want < 0 {
		c.delivery.broken(resp.At, "watch %d got revision %d of %q twice or from nowhere", w.ID, e.Revision, e.Key)
		return
	}
	c.next, c.delivered = want+1, e.Revision
	c.fields(resp.At, want, e)
}

// skipTo returns the index of e in the truth from next on. Events that it passes and
// the filter lets through are missing. It returns -1 if e isn't there.
func (c *watchCheck) skipTo(at int64, e *history.Event) int {
	i := c.next
	for ; i < len(c.truth.events); i++ {
		x := &c.truth.events[i]
		if x.Revision > e.Revision {
			return -1
		}
		if x.Revision == e.Revision && x.Key == e.Key {
			break
		}
	}
	if i == len(c.truth.events) {
		return -1
	}
	c.missing(at, i)
	return i
}

// missing reports the events from next to end that should have been delivered.
func (c *watchCheck) missing(at int64, end int) {
	for i := c.next; i < end; i++ {
		x := &c.truth.events[i]
		if !Matches(&c.w.Filter, x) {
			continue
		}
		finding := c.delivery
		if c.delivered == 0 {
			finding = c.start
		}
		finding.broken(at, "watch %d from %d missed revision %d of %q", c.w.ID, c.w.Start, x.Revision, x.Key)
	}
}

// fields compares an event with the same one in the truth.
func (c *watchCheck) fields(at int64, i int, e *history.Event) {
	x := &c.truth.events[i]
	if e.Delete != x.Delete || e.Value != x.Value || e.Lease != x.Lease ||
		!e.Delete && (e.Created != x.Created || e.Version != x.Version) {
		c.delivery.broken(at, "watch %d got %+v, want %+v", c.w.ID, *e, *x)
	}
	prev := c.truth.prev[i]
	switch {
	case e.HasPrev && e.Prev != prev:
		c.delivery.broken(at, "watch %d got previous value %q with revision %d of %q, want %q", c.w.ID, e.Prev, e.Revision, e.Key, prev)
	case c.w.Filter.PrevKV && !e.HasPrev && prev != "" && c.run.Compacted == 0:
		c.delivery.broken(at, "watch %d got revision %d of %q without the previous value %q", c.w.ID, e.Revision, e.Key, prev)
	}
}

func (c *watchCheck) progress(resp *history.Response) {
	if resp.Revision < c.told || resp.Revision < c.delivered {
		c.delivery.broken(resp.At, "watch %d got progress %d after %d", c.w.ID, resp.Revision, max(c.told, c.delivered))
		return
	}
	end := c.truth.from(resp.Revision + 1)
	c.missing(resp.At, end)
	c.next, c.promised, c.told = max(c.next, end), max(c.promised, resp.Revision), resp.Revision
}

// end checks for missing events when the watch ended.
func (c *watchCheck) end() {
	w := c.w
	switch {
	case w.Error != "" && w.Compacted == 0:
		c.delivery.broken(w.Ended, "watch %d ended: %s", w.ID, w.Error)
	case w.Final > 0 && w.Compacted == 0:
		c.missing(w.Ended, c.truth.from(w.Final+1))
	}
}

// compaction checks a watch that ended because its revision was compacted.
func (c *watchCheck) compaction() {
	next := max(c.w.Start, c.delivered+1, c.promised+1)
	if next == c.w.Start && c.w.Known > 0 {
		next = c.w.Known
	}
	compacted := c.run.Compacted
	if b := c.run.Before; b != nil {
		compacted = max(compacted, b.Compacted)
	}
	if c.w.Compacted > 0 && (c.w.Compacted <= next || c.w.Compacted > compacted) {
		c.start.broken(c.w.Ended, "watch %d at revision %d reported compaction up to %d, compacted is %d",
			c.w.ID, next, c.w.Compacted, compacted)
	}
}

// Matches reports whether a watch with this filter gets an event.
func Matches(f *history.Filter, e *history.Event) bool {
	switch {
	case e.Delete && f.NoDelete, !e.Delete && f.NoPut:
		return false
	case f.Prefix:
		return strings.HasPrefix(e.Key, f.Key)
	case f.FromKey:
		return e.Key >= f.Key
	}
	return e.Key == f.Key
}
