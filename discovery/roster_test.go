package discovery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func fill(r *roster, n int) {
	for i := range n {
		key := fmt.Sprint(i)
		r.add(key, Instance{ID: key})
	}
}

// MinKeep is a share of the largest set of the last minute, and so lets a set that stays small
// shrink step by step. Those that have gone last stay.
func TestMinKeepOverTime(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRoster(0, 0.5)
	fill(r, 8)
	r.show(now)
	for i := range 8 {
		r.remove(fmt.Sprint(i), now.Add(time.Duration(i)*time.Millisecond), false)
	}
	now = now.Add(time.Second)
	shrinks := []int{4, 2, 1, 1}
	for i, want := range shrinks {
		instances, kept, next := r.show(now)
		if len(instances) != want || kept != want || instances[want-1].ID != "7" {
			t.Errorf("%d: %d instances, %d of them kept, want %d: %v", i, len(instances), kept, want, instances)
		}
		if i < len(shrinks)-1 && next != now.Add(keepWindow) {
			t.Errorf("%d: the next change is at %v, want %v", i, next, now.Add(keepWindow))
		}
		if same, _, _ := r.show(now.Add(keepWindow - 1)); len(same) != want {
			t.Errorf("%d: %d instances before the minute is over", i, len(same))
		}
		now = now.Add(keepWindow)
	}
}

// After a reset of the store instances stay for a while, and those that register are not kept
// twice.
func TestResetDelay(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRoster(0, 0)
	fill(r, 3)
	r.remove("0", now, false)
	r.remove("1", now, true)
	r.remove("2", now, true)
	r.add("2", Instance{ID: "2"})
	if instances, kept, next := r.show(now); ids(instances) != "1 2" || kept != 1 || next != now.Add(resetDelay) {
		t.Errorf("%v, %d kept until %v", instances, kept, next)
	}
	if instances, kept, next := r.show(now.Add(resetDelay)); ids(instances) != "2" || kept != 0 || !next.IsZero() {
		t.Errorf("%v, %d kept until %v", instances, kept, next)
	}
}

func ids(list []Instance) (out string) {
	for i, inst := range list {
		if i > 0 {
			out += " "
		}
		out += inst.ID
	}
	return out
}

// What is added, removed and updated leads from one set to the next, whatever the sets.
func TestDifferences(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	set := func() *Set {
		s := new(Set)
		for i := range 6 {
			if random.IntN(2) == 0 {
				s.Instances = append(s.Instances, Instance{ID: fmt.Sprint(i), Revision: random.Int64N(2)})
			}
		}
		return s
	}
	before := new(Set)
	for range 1000 {
		d := set().since(before)
		state := make(map[string]int64)
		for _, i := range before.Instances {
			state[i.ID] = i.Revision
		}
		for _, i := range d.Removed {
			if _, ok := state[i.ID]; !ok {
				t.Fatalf("removed %s, which was not there", i.ID)
			}
			delete(state, i.ID)
		}
		for _, i := range d.Added {
			if _, ok := state[i.ID]; ok {
				t.Fatalf("added %s, which was there", i.ID)
			}
			state[i.ID] = i.Revision
		}
		for _, i := range d.Updated {
			if rev, ok := state[i.ID]; !ok || rev == i.Revision {
				t.Fatalf("updated %s from %d to %d", i.ID, rev, i.Revision)
			}
			state[i.ID] = i.Revision
		}
		if len(state) != len(d.Instances) || slices.ContainsFunc(d.Instances, func(i Instance) bool { return state[i.ID] != i.Revision }) {
			t.Fatalf("%v leads to %v, not to %v", before.Instances, state, d.Instances)
		}
		if now := (&Set{Instances: d.Instances}); now.differs(before) != (len(d.Added)+len(d.Removed)+len(d.Updated) > 0) {
			t.Fatal("differs and since do not agree")
		}
		before = &Set{Instances: d.Instances}
	}
}

// What a codec writes it reads, and what is not its own it refuses.
func TestCodecs(t *testing.T) {
	i := Instance{Service: "/microservices/search", ID: "a", Addr: "[::1]:80", Metadata: map[string]string{"version": "v1", "zone": "x"}}
	for want, codec := range map[string]Codec{
		`{"Op":0,"Addr":"[::1]:80","Metadata":{"version":"v1","zone":"x"}}`: Endpoints{},
		`[::1]:80`: Plain{},
		`{"id":"a","name":"search","version":"v1","metadata":{"zone":"x"},"endpoints":["grpc://[::1]:80"]}`: Kratos{},
		`{"id":"a","name":"n","version":"v1","metadata":{"zone":"x"},"endpoints":["http://[::1]:80"]}`:      Kratos{Scheme: "http", Name: "n"},
	} {
		value, err := codec.Encode(i)
		if err != nil || string(value) != want {
			t.Errorf("%T writes %s, %v, want %s", codec, value, err, want)
		}
		var read Instance
		if err := codec.Decode(value, &read); err != nil || read.Addr != i.Addr {
			t.Errorf("%T reads %+v, %v", codec, read, err)
		}
		if _, plain := codec.(Plain); plain {
			continue
		}
		if md, _ := read.Metadata.(map[string]any); md["zone"] != "x" || md["version"] != "v1" {
			t.Errorf("%T reads the metadata %v", codec, read.Metadata)
		}
		for _, bad := range []string{"", "{", "[]", `{"Op":1,"Addr":"a"}`, `{}`, `{"endpoints":["ftp://a"]}`} {
			if err := codec.Decode([]byte(bad), &read); err == nil {
				t.Errorf("%T reads %q", codec, bad)
			}
		}
	}
	if _, err := (Kratos{}).Encode(Instance{Metadata: map[string]any{"a": 1}}); err == nil {
		t.Error("Kratos takes a number for metadata")
	}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		metadata any
		want     uint32
	}{
		{nil, 0}, {"3", 0}, {map[string]any{"weight": 3.0}, 3}, {map[string]any{"weight": 3}, 3}, {map[string]string{"weight": "3"}, 3},
		{map[string]any{"weight": "3"}, 3}, {map[string]any{"weight": 1.5}, 0}, {map[string]any{"weight": -1}, 0}, {map[string]any{"weight": 0}, 0},
		{map[string]any{"weight": 1e30}, 0}, {map[string]any{"weight": uint32(1<<32 - 1)}, 1<<32 - 1}, {map[string]any{"weight": true}, 0},
	} {
		weight, ok := Instance{Metadata: c.metadata}.Weight()
		if ok != (c.want > 0) || ok && weight != c.want {
			t.Errorf("%v: %d, %v", c.metadata, weight, ok)
		}
	}
}
