package check

import (
	"fmt"
	"iter"
	"math"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"silly.store/etcd/robustness/internal/history"
)

// modelTime bounds the search of one key's history. A search that runs out of it
// counts as a violation: it has not shown linearizability.
const modelTime = 20 * time.Second

// linearizable is I1, in three independent ways: a search for an order of each
// key's calls that explains all answers; the revisions in the answers, against the
// truth and real time; the members' hashes.
func linearizable(r *history.Run, t *truth, f *Finding) {
	for key, ops := range operations(r, t) {
		f.Checked += len(ops)
		switch porcupine.CheckOperationsTimeout(register(t.initial(key)), ops, modelTime) {
		case porcupine.Illegal:
			f.broken(ops[0].Call, "no order of the %d calls on %q explains their answers", len(ops), key)
		case porcupine.Unknown:
			f.broken(ops[0].Call, "no order of the %d calls on %q was found within %v", len(ops), key, modelTime)
		}
	}
	revisions(r, t, f)
	scans(r, t, f)
	for _, h := range r.Hashes {
		if first := r.Hashes[0]; h.Revision != first.Revision || h.Compact == first.Compact && h.Hash != first.Hash {
			f.broken(int64(r.Took), "member %s has hash %x at revision %d, member %s has %x at %d",
				h.Member, h.Hash, h.Revision, first.Member, first.Hash, first.Revision)
		}
	}
}

// register is the model of one key: its value, "" without a key. A call of unknown
// outcome may take effect at any time after it began; a call that never took effect
// is equivalent to one that did after all others.
func register(initial string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			value, c := state.(string), input.(*history.Call)
			done := c.Fate == history.Done
			switch c.Kind {
			case history.Get:
				return c.Found == value, value
			case history.Put:
				return true, c.Value
			case history.Delete:
				return !done || c.Matched == (value != ""), ""
			case history.Swap:
				return swapped(value, c)
			case history.Many: // writes several keys and is no operation of one
			}
			return false, value
		},
		DescribeOperation: func(input, _ any) string { return describe(input.(*history.Call)) },
	}
}

// swapped is the step of a swap: whether its answer can be that on value, and the
// value after it.
func swapped(value string, c *history.Call) (bool, string) {
	switch matches := value == c.Expected; {
	case c.Fate == history.Done && (matches != c.Matched || !matches && c.Found != value):
		return false, value
	case matches:
		return true, c.Value
	}
	return true, value
}

func describe(c *history.Call) string {
	switch c.Kind {
	case history.Get:
		return fmt.Sprintf("get = %q at %d", c.Found, c.Revision)
	case history.Put:
		return fmt.Sprintf("put %q: %v at %d", c.Value, c.Fate, c.Revision)
	case history.Delete:
		return fmt.Sprintf("delete: %v, %v at %d", c.Fate, c.Matched, c.Revision)
	case history.Swap:
		return fmt.Sprintf("swap %q for %q: %v, %v, %q at %d", c.Expected, c.Value, c.Fate, c.Matched, c.Found, c.Revision)
	case history.Many: // never an operation of the model
	}
	return c.Kind.String()
}

// operations returns the calls of each key in the model's form, without keys that
// transactions over several keys write. The truth about calls of unknown outcome
// narrows the search: those without effect are left out, the others took effect
// before their revision was seen.
func operations(r *history.Run, t *truth) map[string][]porcupine.Operation {
	seen := seenBy(r)
	deletes := unclaimedDeletes(r, t)
	shared := manyPrefixes(r)
	ops := make(map[string][]porcupine.Operation)
	for c := range calls(r) {
		if c.Stale || c.Fate == history.NotApplied || c.Kind == history.Get && c.Fate != history.Done || shared(c.Key) {
			continue
		}
		op := porcupine.Operation{ClientId: c.Process, Input: c, Call: c.Began, Return: c.Ended}
		if c.Fate == history.Unknown {
			op.Return = math.MaxInt64
			if c.Kind == history.Delete {
				if deletes[c.Key] == 0 {
					continue
				}
			} else {
				of := t.values[c.Value]
				if len(of) == 0 {
					continue
				}
				op.Return = max(seen(t.events[of[0]].Revision), c.Began)
			}
		}
		ops[c.Key] = append(ops[c.Key], op)
	}
	return ops
}

// calls returns the run's calls and those taken over.
func calls(r *history.Run) iter.Seq[*history.Call] {
	return func(yield func(*history.Call) bool) {
		if r.Before != nil {
			for i := range r.Before.Calls {
				if !yield(&r.Before.Calls[i]) {
					return
				}
			}
		}
		for i := range r.Calls {
			if !yield(&r.Calls[i]) {
				return
			}
		}
	}
}

// manyPrefixes reports which keys transactions over several keys write: those are
// not registers.
func manyPrefixes(r *history.Run) func(key string) bool {
	prefixes := make(map[string]bool)
	for c := range calls(r) {
		if c.Kind == history.Many {
			prefixes[c.Key] = true
		}
	}
	return func(key string) bool {
		for p := range prefixes {
			if strings.HasPrefix(key, p) {
				return true
			}
		}
		return false
	}
}

// seenBy returns when an answer first named a revision or a later one.
func seenBy(r *history.Run) func(revision int64) int64 {
	type answer struct{ revision, at int64 }
	var answers []answer
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Fate == history.Done && c.Revision > 0 {
			answers = append(answers, answer{c.Revision, c.Ended})
		}
	}
	sort.Slice(answers, func(i, j int) bool { return answers[i].revision < answers[j].revision })
	for i := len(answers) - 2; i >= 0; i-- {
		answers[i].at = min(answers[i].at, answers[i+1].at)
	}
	return func(revision int64) int64 {
		i := sort.Search(len(answers), func(i int) bool { return answers[i].revision >= revision })
		if i == len(answers) {
			return math.MaxInt64
		}
		return answers[i].at
	}
}

// unclaimedDeletes counts the deletions of each key that no answer reported.
func unclaimedDeletes(r *history.Run, t *truth) map[string]int {
	n := make(map[string]int)
	for i := range t.events {
		if e := &t.events[i]; e.Delete {
			n[e.Key]++
		}
	}
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Kind == history.Delete && c.Fate == history.Done && c.Matched {
			n[c.Key]--
		}
	}
	return n
}

// revisions compares the revisions in answers with the truth, and their order with
// real time.
func revisions(r *history.Run, t *truth, f *Finding) {
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Fate != history.Done {
			continue
		}
		f.Checked++
		if c.Revision > t.last {
			f.broken(c.Ended, "%s of %q was answered at revision %d, but the last revision is %d", c.Kind, c.Key, c.Revision, t.last)
			continue
		}
		switch {
		case c.Kind == history.Get, c.Kind == history.Swap && !c.Matched:
			e := t.at(c.Key, c.Revision)
			if e != nil && e.Delete {
				e = nil
			}
			switch {
			case e == nil && c.Found != "":
				f.broken(c.Ended, "%q was read as %q at revision %d, where it does not exist", c.Key, c.Found, c.Revision)
			case e != nil && (c.Found != e.Value || c.Modified != e.Revision):
				f.broken(c.Ended, "%q was read as %q of %d at revision %d, where it is %q of %d",
					c.Key, c.Found, c.Modified, c.Revision, e.Value, e.Revision)
			}
		case c.Kind == history.Put, c.Kind == history.Swap, c.Kind == history.Delete && c.Matched:
			e := t.at(c.Key, c.Revision)
			if e == nil || e.Revision != c.Revision || e.Delete != (c.Kind == history.Delete) || !e.Delete && e.Value != c.Value {
				f.broken(c.Ended, "%s of %q with %q was answered at revision %d, where it did not happen", c.Kind, c.Key, c.Value, c.Revision)
			}
		}
	}
	inOrder(r, t, f)
}

// inOrder checks that a linearizable call that began after another had ended has
// no lower revision.
func inOrder(r *history.Run, t *truth, f *Finding) {
	var began, ended []*history.Call
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Fate == history.Done && !c.Stale {
			began = append(began, c)
		}
	}
	ended = append(ended, began...)
	sort.Slice(began, func(i, j int) bool { return began[i].Began < began[j].Began })
	sort.Slice(ended, func(i, j int) bool { return ended[i].Ended < ended[j].Ended })
	highest, next := t.began, 0
	for _, c := range began {
		for ; next < len(ended) && ended[next].Ended < c.Began; next++ {
			highest = max(highest, ended[next].Revision)
		}
		if c.Revision < highest {
			f.broken(c.Ended, "%s of %q was answered at revision %d, after another call had been at %d", c.Kind, c.Key, c.Revision, highest)
		}
	}
}

// scans checks that a read of many keys returns one revision, with nothing missing
// and nothing twice.
func scans(r *history.Run, t *truth, f *Finding) {
	for i := range r.Scans {
		s := &r.Scans[i]
		if s.Error != "" {
			continue
		}
		f.Checked++
		want := t.under(s.Prefix, s.Revision)
		if len(want) != len(s.Pairs) {
			f.broken(s.Ended, "a read of %q at revision %d has %d keys, there were %d", s.Prefix, s.Revision, len(s.Pairs), len(want))
			continue
		}
		for j, p := range s.Pairs {
			if x := want[j]; p.Key != x.Key || p.Value != x.Value || p.Revision != x.Revision || p.Version != x.Version {
				f.broken(s.Ended, "a read of %q at revision %d has %+v, there was %+v", s.Prefix, s.Revision, p, *x)
				break
			}
		}
	}
}

// forwards is I7.
func forwards(r *history.Run, _ *truth, f *Finding) {
	highest := make(map[int]int64)
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Fate != history.Done || c.Stale {
			continue
		}
		f.Checked++
		if c.Revision < highest[c.Process] {
			f.broken(c.Ended, "process %d was at revision %d and then at %d", c.Process, highest[c.Process], c.Revision)
		}
		highest[c.Process] = max(highest[c.Process], c.Revision)
	}
}
