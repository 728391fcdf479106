package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// Both drivers report locks in the same terms.
func TestLocks(t *testing.T) {
	s := etcdtest.Start(t)
	for _, name := range Names {
		t.Run(name, func(t *testing.T) {
			c, err := Drivers[name](Config{Endpoints: s.Endpoints(), Names: history.NewInterner()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			locks, err := OpenLocks(c, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			mutex(ctx, t, c, locks, history.Locks+name)
			leads(ctx, t, locks, history.Locks+name+"-e")
			if err := locks.Close(ctx); err != nil {
				t.Error(err)
			}
			if n, err := c.ReadAll(ctx, history.Locks+name); err != nil || n != 0 {
				t.Errorf("%d bytes are left over, error %v", n, err)
			}
		})
	}
}

// mutex locks, finds it locked, writes, loses the lock to a deletion and learns of it.
func mutex(ctx context.Context, t *testing.T, c Store, locks Locks, name string) {
	want := history.Want{Recipe: history.Mutex, Name: name}
	first, err := locks.Acquire(ctx, want, "")
	if err != nil {
		t.Fatal(err)
	}
	want.Try = true
	if _, err := locks.Acquire(ctx, want, ""); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if first.Token() == 0 || first.Key() == "" || first.Lost() || first.Context().Err() != nil {
		t.Errorf("the lock has the key %q and the token %d, lost: %v", first.Key(), first.Token(), first.Lost())
	}
	if a, err := first.Write(ctx, "fence", "1"); err != nil || a.Revision <= first.Token() {
		t.Errorf("wrote %+v, error %v", a, err)
	}
	if err := first.Release(ctx); err != nil {
		t.Error(err)
	}
	want.Try = false
	second, err := locks.Acquire(ctx, want, "")
	if err != nil {
		t.Fatal(err)
	}
	if second.Token() <= first.Token() {
		t.Errorf("token %d after %d", second.Token(), first.Token())
	}
	if _, err := first.Write(ctx, "fence", "2"); !errors.Is(err, ErrLost) {
		t.Errorf("the former holder writes: %v", err)
	}
	if _, err := c.Delete(ctx, second.Key()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Write(ctx, "fence", "3"); !errors.Is(err, ErrLost) {
		t.Errorf("a holder that has lost the lock writes: %v", err)
	}
	_ = second.Release(ctx) // drivers differ: see the report
}

// leads wins an election, proclaims, and resigns; an observer sees it all.
func leads(ctx context.Context, t *testing.T, locks Locks, name string) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l, err := locks.Acquire(ctx, history.Want{Recipe: history.Leadership, Name: name}, "a")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan history.Leader)
	observed := make(chan error, 1)
	go func() {
		observed <- locks.Observe(ctx, name, func(s history.Leader) { told <- s })
	}()
	if s := <-told; !s.Present || s.Key != l.Key() || s.Value != "a" || s.Term != l.Token() {
		t.Errorf("observed %+v of the term %d", s, l.Token())
	}
	if err := l.Proclaim(ctx, "b"); err != nil {
		t.Error(err)
	}
	if s := <-told; s.Value != "b" || s.Term != l.Token() || s.Revision <= s.Term || s.Since > s.Revision {
		t.Errorf("observed %+v of the term %d", s, l.Token())
	}
	stop()
	if err := <-observed; !errors.Is(err, context.Canceled) {
		t.Errorf("the observer ended with %v", err)
	}
	free := context.WithoutCancel(ctx)
	if err := l.Release(free); err != nil {
		t.Error(err)
	}
	terms := 0
	err = locks.Run(free, name, "c", func(ctx context.Context, held Lock) error {
		terms++
		if held.Token() <= l.Token() {
			t.Errorf("term %d after %d", held.Token(), l.Token())
		}
		return nil
	})
	if err != nil || terms != 1 {
		t.Errorf("ran %d times, error %v", terms, err)
	}
}
