package check

import (
	"slices"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

const (
	// lateness is how long after its deadline a call may end.
	lateness = 50 * time.Millisecond
	// backlog is how long the effects of a pause last: afterwards the machine works
	// through everything that was due in it.
	backlog = 250 * time.Millisecond
	// longest is how long a call without deadline may take before it counts as
	// hanging: five retries of ten seconds and the sleeps between them.
	longest = 70 * time.Second
)

// deadlines is I8. Time in which this process did not get the CPU is excused.
func deadlines(r *history.Run, _ *truth, f *Finding) {
	for i := range r.Calls {
		c := &r.Calls[i]
		f.Checked++
		switch late := time.Duration(c.Ended - c.Deadline); {
		case c.Deadline == 0:
			if took := time.Duration(c.Ended - c.Began); took > longest+excused(r, c.Began, c.Ended) {
				f.broken(c.Ended, "%s of %q took %v", c.Kind, c.Key, took)
			}
		case late > lateness && late > lateness+excused(r, c.Deadline-int64(backlog), c.Ended):
			f.broken(c.Ended, "%s of %q ended %v after its deadline: %s", c.Kind, c.Key, late, c.Error)
		}
	}
}

// leases is I5.
func leases(r *history.Run, t *truth, f *Finding) {
	for i := range r.Leases {
		l := &r.Leases[i]
		f.Checked++
		gone := deletion(t, l)
		switch {
		case l.Revoked != 0 && (gone == nil || gone.At >= l.Revoked):
		case gone != nil && (l.Lost == 0 || time.Duration(l.Lost-gone.At) > excused(r, l.Lost-int64(l.TTL), l.Lost)):
			f.broken(gone.At, "the server deleted lease %x (%v) at %v, its loss was reported at %v",
				l.ID, l.TTL, time.Duration(gone.At), time.Duration(l.Lost))
		case l.Lost != 0 && (!r.LeasesMayEnd || !faulty(r, l.Lost-int64(l.TTL), l.Lost)):
			f.broken(l.Lost, "lease %x (%v) was reported lost without a cause: %s", l.ID, l.TTL, l.Error)
		}
	}
}

// deletion returns when the lease's key was deleted.
func deletion(t *truth, l *history.Lease) *history.Event {
	if l.Key == "" {
		return nil
	}
	for _, i := range t.keys[l.Key] {
		if e := &t.events[i]; e.Delete {
			return e
		}
	}
	return nil
}

// Margins returns how long before its deletion each lost lease was reported lost.
func Margins(r *history.Run) []time.Duration {
	t, _ := newTruth(r)
	var margins []time.Duration
	for i := range r.Leases {
		if gone := deletion(t, &r.Leases[i]); gone != nil && r.Leases[i].Lost != 0 {
			margins = append(margins, time.Duration(gone.At-r.Leases[i].Lost))
		}
	}
	return margins
}

// faulty reports whether any fault overlaps the time between from and to.
func faulty(r *history.Run, from, to int64) bool {
	faults := r.Faults
	if r.Before != nil {
		faults = slices.Concat(r.Before.Faults, faults)
	}
	for _, x := range faults {
		if x.From <= to && (x.To == 0 || x.To >= from) {
			return true
		}
	}
	return false
}

// usage is I9 and I10.
func usage(r *history.Run, _ *truth, f *Finding) {
	for _, u := range r.Usage {
		if u.Invariant != f.Invariant {
			continue
		}
		f.Checked++
		if u.After > u.Most {
			f.broken(int64(r.Took), "%s: %.0f before, %.0f after, at most %.0f is allowed", u.What, u.Before, u.After, u.Most)
		}
	}
	if f.Checked == 0 {
		f.broken(0, "nothing was measured")
	}
}

// refused is I11.
func refused(r *history.Run, _ *truth, f *Finding) {
	for _, x := range r.Refused {
		f.Checked++
		switch {
		case !x.Refused:
			f.broken(0, "%s was accepted", x.What)
		case !x.Named:
			f.broken(0, "%s was refused, but the error does not say why: %s", x.What, x.Error)
		}
	}
	if f.Checked == 0 {
		f.broken(0, "nothing was tried")
	}
}
