package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
)

// A member that computes with another number of partitions leaves some without an owner. So
// each says its number in its value, and the newer of two that differ does not get in. It
// looks before it takes its name, so that the others do not see it come and go, and again
// when it has the name, for those that came in between.

// value is that of this member's key.
func (g *Group) value() []byte {
	return []byte(strconv.Itoa(g.config.Weight) + "/" + strconv.Itoa(g.config.Partitions))
}

// parseValue reads a member's value. partitions is 0 if the value does not say it, and
// weight 1.
func parseValue(value []byte) (weight, partitions int) {
	a, b, _ := strings.Cut(string(value), "/")
	weight, err := strconv.Atoi(a)
	if err != nil || weight < 1 || weight > maxWeight {
		weight = 1
	}
	partitions, err = strconv.Atoi(b)
	if err != nil || partitions < 1 || partitions > maxPartitions {
		partitions = 0
	}
	return weight, partitions
}

// enter takes the member's name, if the group agrees on the number of partitions.
func (g *Group) enter(m *concurrency.Mutex) (*concurrency.Lock, error) {
	if err := g.agree(g.life, anyAge); err != nil {
		return nil, err
	}
	l, err := m.TryLock(g.life)
	before := int64(anyAge) // while it waits, others may join after its key
	if errors.Is(err, concurrency.ErrLocked) {
		l, err = m.Lock(g.life)
	} else if err == nil {
		before = l.Token()
	}
	if err != nil {
		return nil, err
	}
	if err := g.agree(g.life, before); err != nil {
		_ = l.Unlock(g.final) // which goes on by itself
		return nil, err
	}
	return l, nil
}

// anyAge is more than any revision.
const anyAge = 1<<63 - 1

// agree compares the number of partitions with that of other members whose keys were created
// before a revision.
func (g *Group) agree(ctx context.Context, before int64) error {
	resp, err := g.co.Client().Get(ctx, etcd.GetRequest{Key: g.membersRoot(), Prefix: true})
	if err != nil {
		return err
	}
	known := make(map[string]*etcd.KeyValue, len(resp.KVs))
	for i := range resp.KVs {
		known[resp.KVs[i].Key] = &resp.KVs[i]
	}
	first := firsts(known, g.membersRoot())
	for _, name := range slices.Sorted(maps.Keys(first)) {
		_, partitions := parseValue(first[name].Value)
		switch {
		case name == g.config.Member, partitions == 0, first[name].CreateRevision >= before:
		case partitions != g.config.Partitions:
			return fmt.Errorf("%w: Config.Partitions is %d here, and %d at the member %q", ErrConfigMismatch, g.config.Partitions, partitions, name)
		}
	}
	return nil
}
