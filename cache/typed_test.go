package cache

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/internal/follow"
)

func numbers(t testing.TB, ca *Cache, keep bool) (*Typed[int], *atomic.Int64) {
	t.Helper()
	calls := new(atomic.Int64)
	typed, err := NewTyped(ca, TypedConfig[int]{KeepLast: keep, Decode: func(kv etcd.KeyValue) (int, error) {
		calls.Add(1)
		if string(kv.Value) == "panic" {
			panic("no number")
		}
		return strconv.Atoi(string(kv.Value))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return typed, calls
}

// Each version is decoded once, however many readers there are and however often they read,
// even beside another Typed.
func TestTypedDecodesOnce(t *testing.T) {
	w := newWritten(Config{})
	w.commit(t, w.put("a", "1"), w.put("b", "2"))
	one, calls := numbers(t, w.ca, false)
	other, otherCalls := numbers(t, w.ca, true)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 100 {
				if d, presence := one.Peek("a"); presence != Present || d.Value != 1 || d.Err != nil {
					t.Errorf("%v, %+v", presence, d)
				}
				if v, found, err := other.Get(t.Context(), "a", Local); v != 1 || !found || err != nil {
					t.Errorf("%d, %v, %v", v, found, err)
				}
			}
		})
	}
	readers.Wait()
	if calls.Load() != 1 || otherCalls.Load() != 1 {
		t.Errorf("%d and %d calls", calls.Load(), otherCalls.Load())
	}
	s, err := w.ca.Snapshot(t.Context(), Local)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, w.put("a", "3"))
	var all []string
	for d := range one.All(s, "") {
		all = append(all, fmt.Sprint(d.KV.Key, d.Value))
	}
	if got := fmt.Sprint(all); got != "[a1 b2]" || calls.Load() != 2 {
		t.Errorf("%s, %d calls", got, calls.Load())
	}
	if d, _ := one.Peek("a"); d.Value != 3 || calls.Load() != 3 {
		t.Errorf("%+v, %d calls", d, calls.Load())
	}
	if n := testing.AllocsPerRun(100, func() { one.Peek("a") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, presence := one.Peek("none"); presence != Absent {
		t.Errorf("%v", presence)
	}
}

// A value that cannot be decoded, or whose decoder panics, is a named error, or the last
// good value of the key as long as the key lives.
func TestTypedFailures(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w := newWritten(Config{})
		typed, calls := numbers(t, w.ca, keep)
		expect := func(value string, want int, fails, last bool) {
			t.Helper()
			w.commit(t, w.put("a", value))
			for range 2 {
				d, _ := typed.Peek("a")
				if d.Value != want || d.Last != last || (d.Err != nil) != fails {
					t.Errorf("keep %v, %s: %+v", keep, value, d)
				}
				var de *DecodeError
				if fails && (!errors.Is(d.Err, ErrDecode) || !errors.As(d.Err, &de) || de.Key != "a" || de.ModRevision != w.revision) {
					t.Errorf("%v", d.Err)
				}
				v, found, err := typed.Get(t.Context(), "a", Local)
				if !found || v != want || (err != nil) != (fails && !last) {
					t.Errorf("keep %v, %s: %d, %v, %v", keep, value, v, found, err)
				}
			}
		}
		good := func(n int) int {
			if keep {
				return n
			}
			return 0
		}
		expect("x", 0, true, false)
		expect("7", 7, false, false)
		expect("x", good(7), true, keep)
		expect("panic", good(7), true, keep)
		expect("8", 8, false, false)
		expect("x", good(8), true, keep)
		w.commit(t, follow.Change{Old: w.b.Get("a")})
		expect("x", 0, true, false)
		if calls.Load() != 7 || typed.Failures() != 5 {
			t.Errorf("%d calls, %d failures", calls.Load(), typed.Failures())
		}
	}
	if _, err := NewTyped(newWritten(Config{}).ca, TypedConfig[int]{}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no decoder: %v", err)
	}
	if _, err := NewTyped(nil, TypedConfig[int]{Decode: func(etcd.KeyValue) (int, error) { return 0, nil }}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no cache: %v", err)
	}
}

// A value that the cache does not keep has no decoded value there.
func TestTypedWithoutValue(t *testing.T) {
	w := newWritten(Config{KeepValue: func(*etcd.KeyValue) bool { return false }})
	typed, calls := numbers(t, w.ca, false)
	w.commit(t, w.put("a", "1"))
	if d, presence := typed.Peek("a"); presence != WithoutValue || !errors.Is(d.Err, ErrDecode) || calls.Load() != 0 {
		t.Errorf("%v, %+v", presence, d)
	}
}
