package group

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/follow"
)

// pauses spaces attempts that fail.
var pauses = backoff.Backoff{First: 100 * time.Millisecond, Cap: 5 * time.Second}

// register holds the mutex of the member's name, again after each loss.
func (g *Group) register() {
	m := g.co.Mutex(g.membersRoot()+g.config.Member, concurrency.MutexConfig{Value: g.value()})
	for failures, first := 0, true; ; {
		l, err := g.enter(m)
		if err != nil {
			if g.life.Err() != nil {
				return
			}
			if !etcd.Temporary(err) {
				g.fail(err)
				return
			}
			failures++
			call.Sleep(g.life, pauses.Jittered(failures))
			continue
		}
		g.setRegistered(true)
		if failures = 0; first {
			first = false
			close(g.joined)
		}
		select {
		case <-l.Context().Done():
			g.setRegistered(false)
			g.log(g.life, "membership lost, joining again", "error", context.Cause(l.Context()))
		case <-g.life.Done():
			// The partitions are given up at the same time: others wait for their mutexes.
			_ = l.Unlock(g.final) // which goes on by itself
			return
		}
	}
}

// setRegistered notes whether this process has the member's name. Another one may have it,
// and its partitions are not this one's.
func (g *Group) setRegistered(registered bool) {
	g.mu.Lock()
	g.registered = registered
	g.mu.Unlock()
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// follow keeps the members in step, and the partitions with them.
func (g *Group) follow() {
	defer g.want(nil)
	f := follow.New(g.co.Client(), follow.Config{Key: g.membersRoot(), Prefix: true})
	defer f.Close()
	steps := make(chan []Member)
	g.routines.Go(func() { g.settle(steps) })
	defer close(steps)
	known := make(map[string]*etcd.KeyValue)
	for {
		step, err := f.Next(g.life)
		if err != nil {
			g.fail(err)
			return
		}
		apply(known, step.Changes)
		members := holders(known, g.membersRoot())
		g.mu.Lock()
		g.members = members
		g.mu.Unlock()
		select {
		case steps <- members:
		case <-g.life.Done():
			return
		}
	}
}

func apply(known map[string]*etcd.KeyValue, changes []follow.Change) {
	for _, ch := range changes {
		if ch.New != nil {
			known[ch.New.Key] = ch.New
		} else {
			delete(known, ch.Old.Key)
		}
	}
}

// firsts are the members' keys, by their names: of each the one that was created first.
func firsts(known map[string]*etcd.KeyValue, root string) map[string]*etcd.KeyValue {
	first := make(map[string]*etcd.KeyValue)
	for key, kv := range known {
		name, rest, ok := strings.Cut(strings.TrimPrefix(key, root), "/")
		if !ok || strings.Contains(rest, "/") {
			continue
		}
		if other := first[name]; other == nil || kv.CreateRevision < other.CreateRevision {
			first[name] = kv
		}
	}
	return first
}

// holders are the members, in the order of their names.
func holders(known map[string]*etcd.KeyValue, root string) []Member {
	first := firsts(known, root)
	members := make([]Member, 0, len(first))
	for _, name := range slices.Sorted(maps.Keys(first)) {
		weight, _ := parseValue(first[name].Value)
		members = append(members, Member{name, weight})
	}
	return members
}

// settle assigns the partitions when the members have not been news for Config.Settle. It
// counts from the first of several changes, so that members that come and go all the time
// do not keep the others from working.
func (g *Group) settle(steps <-chan []Member) {
	var members []Member
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for waiting := false; ; {
		select {
		case next, ok := <-steps:
			if !ok {
				return
			}
			if slices.Equal(next, members) {
				continue
			}
			members = next
		case <-g.nudge:
		case <-timer.C:
			waiting = false
			g.want(g.mine(members))
			continue
		}
		if !waiting {
			waiting = true
			timer.Reset(max(g.config.Settle, 0))
		}
	}
}

// mine returns the partitions that this process should own.
func (g *Group) mine(members []Member) (list []int) {
	g.mu.Lock()
	registered := g.registered
	g.mu.Unlock()
	if !registered {
		return nil
	}
	for index, owner := range assign(g.config.Partitions, members) {
		if owner >= 0 && members[owner].Name == g.config.Member {
			list = append(list, index)
		}
	}
	return list
}
