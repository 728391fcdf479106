package stm

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/stm"
)

// A transaction that leaves the crowd for a range, and then ends without writes, saw the state
// that the last batch had left, and so one from before the call of Run.
func TestCrowdLendsNoOldState(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]error{"only reads": nil, "fails": errors.New("the function's own error")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := testbed.Private(t)
			other := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
			keepCrowd(t, c)
			for round := range 5 {
				want := "of round " + strconv.Itoa(round)
				heat(t, c)
				if _, err := other.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{
					etcd.PutRequest{Key: "hot", Value: []byte("0")}, etcd.PutRequest{Key: "cold/1", Value: []byte(want)},
				}}); err != nil {
					t.Fatal(err)
				}
				var hot, cold string
				_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
					kv, _, err := tx.Get("hot")
					if err != nil {
						return err
					}
					kvs, err := tx.Range("cold/")
					if err != nil {
						return err
					}
					hot, cold = string(kv.Value), ""
					if len(kvs) > 0 {
						cold = string(kvs[0].Value)
					}
					return own
				})
				if !errors.Is(err, own) {
					t.Fatal(err)
				}
				if hot != "0" || cold != want {
					t.Errorf("round %d: it saw hot %q and cold %q, which were put before the call", round, hot, cold)
				}
			}
		})
	}
}

// keepCrowd has a transaction of the client under way until the test ends, so that the crowd
// keeps what it knows.
func keepCrowd(t *testing.T, c *etcd.Client) {
	hold, held := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	begun := sync.OnceFunc(func() { close(held) })
	running.Go(func() {
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(*stm.Tx) error {
			begun()
			<-hold
			return nil
		})
		if err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { close(hold); running.Wait() })
	<-held
}

// heat makes a key hot: many transactions change it at the same time.
func heat(t *testing.T, c *etcd.Client) {
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			for range 10 {
				if _, err := stm.Update(t.Context(), c, "hot", func(old etcd.KeyValue, _ bool) ([]byte, error) {
					n, err := strconv.Atoi("0" + string(old.Value))
					return strconv.AppendInt(nil, int64(n+1), 10), err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
