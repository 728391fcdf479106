package stm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/stm"
)

// TestCompaction: when the state that the function sees is compacted before it has read
// all, it starts over, with what it had read. It gets through even where every one of
// its requests is followed by a compaction.
func TestCompaction(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	other, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	c, requests := connect(t, etcd.Config{}, s.Endpoints()...)
	const keys = 5
	runs := 0
	result, err := stm.Run(t.Context(), c, stm.Config{Attempts: 2 * keys}, func(tx *stm.Tx) error {
		runs++
		for i := range keys {
			_, _, err := tx.Get(fmt.Sprint("k", i))
			if err != nil {
				return err
			}
			revision := testbed.Put(t, other, "other", "")
			if _, err := other.Compact(t.Context(), etcd.CompactRequest{Revision: revision}); err != nil {
				return err
			}
		}
		return tx.Put(etcd.PutRequest{Key: "done"})
	})
	if err != nil || runs != keys || result.Attempts != keys {
		t.Fatalf("%+v after %d runs, %v", result, runs, err)
	}
	// The first read; then each run but the last has one that fails and is followed by
	// a Txn with all of them; the commit.
	if n := requests.Load(); n != 1+2*(keys-1)+1 {
		t.Errorf("%d requests", n)
	}
}

// TestUnknownOutcome: a commit whose answer is lost is not repeated, not even where the
// client repeats writes. The function would find its own write, and add to it.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, _ := connect(t, etcd.Config{RetryWrites: etcd.AtLeastOnce}, proxy.Endpoint())
	direct, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	for unknown := false; !unknown; {
		before := version(t, direct, "counter")
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
			kv, _, err := tx.Get("counter")
			if err != nil {
				return err
			}
			n, _ := strconv.Atoi(string(kv.Value))
			proxy.CutAfter(etcdtest.ToClient, 1)
			return tx.Put(etcd.PutRequest{Key: "counter", Value: []byte(strconv.Itoa(n + 1))})
		})
		unknown = etcd.MaybeApplied(err)
		switch added := version(t, direct, "counter") - before; {
		case err == nil && added != 1:
			t.Fatalf("%d were added", added)
		case err != nil && !unknown:
			t.Fatal(err)
		case added > 1:
			t.Fatalf("%d were added by a transaction that says: %v", added, err)
		}
	}
}

func version(t *testing.T, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	return kv.Version
}

// TestTransfers moves amounts between accounts from many goroutines while connections
// are cut, and while others add up all accounts. Every sum is the same; and the
// transfers that are stored are those that were reported, and some whose outcome was
// unknown.
func TestTransfers(t *testing.T) {
	t.Parallel()
	const accounts, callers, each = 6, 6, 40
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, _ := connect(t, etcd.Config{}, proxy.Endpoint())
	direct, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	for i := range accounts {
		testbed.Put(t, direct, account(i), "100")
	}
	var done, unknown atomic.Int64
	var clients sync.WaitGroup
	for range callers {
		clients.Go(func() {
			for range each {
				switch err := transfer(t.Context(), c, accounts); {
				case err == nil:
					done.Add(1)
				case etcd.MaybeApplied(err):
					unknown.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	endCuts := testbed.Cuts(proxy, 20*time.Millisecond)
	stop := make(chan struct{})
	var sums sync.WaitGroup
	sums.Go(func() {
		for ended := false; !ended; {
			if sum := sumOf(t, c); sum != accounts*100 {
				t.Errorf("the accounts hold %d", sum)
			}
			select {
			case <-stop:
				ended = true
			default:
			}
		}
	})
	clients.Wait()
	close(stop)
	sums.Wait()
	endCuts()
	if sum := sumOf(t, direct); sum != accounts*100 {
		t.Errorf("at the end the accounts hold %d", sum)
	}
	if n := version(t, direct, "transfers"); n < done.Load() || n > done.Load()+unknown.Load() {
		t.Errorf("%d transfers are stored; %d were reported, and %d of unknown outcome", n, done.Load(), unknown.Load())
	}
	if done.Load() < callers*each/2 {
		t.Errorf("only %d transfers succeeded", done.Load())
	}
}

func account(i int) string { return fmt.Sprint("accounts/", i) }

var errPoor = errors.New("the account is empty")

func transfer(ctx context.Context, c *etcd.Client, accounts int) error {
	from, to, amount := rand.N(accounts), rand.N(accounts), 1+rand.N(10)
	_, err := stm.Run(ctx, c, stm.Config{}, func(tx *stm.Tx) error {
		for _, side := range []struct{ account, amount int }{{from, -amount}, {to, amount}} {
			kv, _, err := tx.Get(account(side.account))
			if err != nil {
				return err
			}
			n, _ := strconv.Atoi(string(kv.Value))
			if n += side.amount; n < 0 {
				return errPoor
			}
			if err := tx.Put(etcd.PutRequest{Key: account(side.account), Value: []byte(strconv.Itoa(n))}); err != nil {
				return err
			}
		}
		return tx.Put(etcd.PutRequest{Key: "transfers"})
	})
	if errors.Is(err, errPoor) {
		return transfer(ctx, c, accounts)
	}
	return err
}

func sumOf(t *testing.T, c *etcd.Client) (sum int) {
	t.Helper()
	_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		sum = 0
		kvs, err := tx.Range("accounts/")
		for _, kv := range kvs {
			n, _ := strconv.Atoi(string(kv.Value))
			sum += n
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return sum
}

// TestWriteSkew: of two transactions that each leave the last one in place, by what they
// have read, one runs again.
func TestWriteSkew(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	for range 50 {
		testbed.Put(t, c, "duty/a", "on")
		testbed.Put(t, c, "duty/b", "on")
		var doctors sync.WaitGroup
		for _, doctor := range []string{"duty/a", "duty/b"} {
			doctors.Go(func() {
				_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
					kvs, err := tx.Range("duty/")
					if err != nil {
						return err
					}
					on := 0
					for _, kv := range kvs {
						if bytes.Equal(kv.Value, []byte("on")) {
							on++
						}
					}
					if on < 2 {
						return nil
					}
					return tx.Put(etcd.PutRequest{Key: doctor, Value: []byte("off")})
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		doctors.Wait()
		if got := stored(t, c, "duty/"); !bytes.Contains([]byte(fmt.Sprint(got)), []byte("=on")) {
			t.Fatalf("nobody is left: %q", got)
		}
	}
}
