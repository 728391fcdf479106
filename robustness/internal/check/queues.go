package check

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// items is Q1.
func items(r *history.Run, t *truth, f *Finding) {
	effects := effectsOf(t)
	acks(r, t, f)
	additions(r, t, effects, f)
	claims(r, f)
	for id, of := range effects {
		if len(of) > 1 {
			f.broken(t.events[of[1]].At, "%q was acknowledged %d times", id, len(of))
		}
	}
	for _, rest := range r.Drained {
		f.Checked++
		for _, key := range rest.Keys {
			f.broken(rest.Began, "%q is left over %v after %s", key, time.Duration(rest.Bound), rest.After)
		}
	}
	if len(r.Drained) == 0 {
		f.broken(0, "nobody has looked for items that are left over")
	}
}

// effectsOf are the puts that acknowledge items, by their keys.
func effectsOf(t *truth) map[string][]int {
	by := make(map[string][]int)
	for key, of := range t.keys {
		item, ok := strings.CutPrefix(key, history.Effects)
		if !ok {
			continue
		}
		for _, i := range of {
			if !t.events[i].Delete {
				by[item] = append(by[item], i)
			}
		}
	}
	return by
}

// additions: an added item is acknowledged or still there, and one that was not added
// never appears.
func additions(r *history.Run, t *truth, effects map[string][]int, f *Finding) {
	left := make(map[string]bool)
	for _, e := range t.under(history.Queues, t.last) {
		left[e.Key[strings.LastIndexByte(e.Key, '/')+1:]] = true
		left[e.Value] = true // client/v3's keys do not tell
	}
	for i := range r.Added {
		a := &r.Added[i]
		f.Checked++
		done := len(effects[a.Queue+"/"+a.ID]) > 0
		switch {
		case a.Fate == history.Done && !done && !left[a.ID]:
			f.broken(a.Ended, "%q was added to %q and is lost: neither acknowledged nor there", a.ID, a.Queue)
		case a.Fate == history.NotApplied && (done || left[a.ID]):
			f.broken(a.Ended, "%q is in %q, and Add had reported that it was not added: %s", a.ID, a.Queue, a.Error)
		}
	}
}

// acks: the reported result of an acknowledgement is true, and the claim that made it
// was alive.
func acks(r *history.Run, t *truth, f *Finding) {
	for i := range r.Claimed {
		c := &r.Claimed[i]
		if c.Back || c.Effect == "" {
			continue
		}
		f.Checked++
		puts := t.values[c.Effect]
		switch {
		case c.Fate == history.Done && len(puts) != 1:
			f.broken(c.Ended, "the effect of acknowledging %q was reported as applied and is there %d times", c.ID, len(puts))
		case c.Fate == history.NotApplied && len(puts) > 0:
			f.broken(c.Ended, "%q was acknowledged, and its worker got an error that says it was not: %s", c.ID, c.Error)
		}
		if c.Token == 0 {
			continue
		}
		for _, at := range puts {
			revision := t.events[at].Revision
			if claim := t.at(c.Key, revision-1); claim == nil || claim.Delete || claim.Created != c.Token {
				f.broken(t.events[at].At, "%q was acknowledged at revision %d by the claim of %d, which was lost", c.ID, revision, c.Token)
			}
		}
	}
}

// claims: an item is one worker's at a time, from when it was given to when the worker was
// told that the claim is over, or began to settle it.
func claims(r *history.Run, f *Finding) {
	hands := handsByKey(r)
	by := make(map[string][]holding)
	for i := range r.Claimed {
		c := &r.Claimed[i]
		if c.Token == 0 {
			continue
		}
		to := earliest(c.Gone, c.Settled)
		for _, at := range hands[c.Key] {
			if at >= c.Taken {
				to = earliest(to, at)
			}
		}
		name := c.Queue + "/" + c.ID
		by[name] = append(by[name], holding{&history.Lock{
			Want: history.Want{Name: name}, Client: c.Client, Process: c.Process, Token: c.Token, Granted: c.Taken,
		}, to})
	}
	apart(r, by, f)
}

// apart checks that the holdings of each name do not overlap, and that tokens grow.
func apart(r *history.Run, by map[string][]holding, f *Finding) {
	for name, of := range by {
		slices.SortFunc(of, func(a, b holding) int { return cmp.Compare(a.Token, b.Token) })
		for i, h := range of {
			f.Checked++
			if i == 0 {
				continue
			}
			if last := of[i-1]; overlap(last, h) && !excusable(r, h.Granted, last.to) {
				f.broken(h.Granted, "%q was given to process %d (token %d) while process %d (token %d) had it from %v to %v",
					name, h.Process, h.Token, last.Process, last.Token, time.Duration(last.Granted), time.Duration(last.to))
			}
		}
	}
}

// partitions is G1.
func partitions(r *history.Run, _ *truth, f *Finding) {
	hands := handsByKey(r)
	by := make(map[string][]holding)
	for i := range r.Owned {
		o := &r.Owned[i]
		to := o.To // until the function returns, it works
		for key, of := range hands {
			for _, at := range of {
				if strings.HasPrefix(key, o.Key+"/") && at >= o.From {
					to = earliest(to, at)
				}
			}
		}
		by[o.Key] = append(by[o.Key], holding{&history.Lock{
			Want: history.Want{Name: o.Key}, Token: o.Token, Granted: o.From, Client: o.Member,
		}, to})
	}
	apart(r, by, f)
	for _, s := range r.Shares {
		f.Checked++
		even(&s, f)
	}
	if len(r.Shares) == 0 {
		f.broken(0, "nobody has looked for who owns what when quiet")
	}
}

// even checks that everything is owned, and by all evenly.
func even(s *history.Shared, f *Finding) {
	owned := 0
	for member, n := range s.Members {
		owned += n
		if share := s.Partitions / len(s.Members); n < share || n > share+1 {
			f.broken(s.At, "%q owns %d of %d partitions of %q, which has %d members", member, n, s.Partitions, s.Group, len(s.Members))
		}
	}
	if owned != s.Partitions {
		f.broken(s.At, "%d of %d partitions of %q are owned", owned, s.Partitions, s.Group)
	}
}
