package costs

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/group"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/queue"
	"silly.store/etcd/sequence"
	"silly.store/etcd/stm"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, leaktest.Ours...)) }

// meter counts what the operations of one client cost.
type meter struct {
	t        *testing.T
	server   *etcdtest.Server
	client   *etcd.Client
	co       *concurrency.Coordinator
	requests atomic.Int64
}

func newMeter(t *testing.T) *meter {
	t.Helper()
	m := &meter{t: t, server: etcdtest.StartProcess(t, etcdtest.Config{})}
	config := etcd.Config{Endpoints: m.server.Endpoints()}
	config.Hooks.Attempt = func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
		m.requests.Add(1)
		return nil
	}
	var err error
	if m.client, err = etcd.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.client.Close() })
	if m.co, err = concurrency.New(m.client, concurrency.Config{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.co.Close(context.Background()) })
	return m
}

func (m *meter) metric(name string) float64 {
	m.t.Helper()
	v, err := m.server.Metric(m.t.Context(), name)
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}

// measure makes an operation n times after a first one, and compares what one has cost in
// requests, and in bytes of the messages that the server has received, with what the
// documentation says.
func (m *meter) measure(what string, n int, requests, bytes float64, do func(i int) error) {
	m.t.Helper()
	if err := do(0); err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	r, b, w := m.requests.Load(), m.metric("etcd_network_client_grpc_received_bytes_total"), m.metric("etcd_disk_wal_write_bytes_total")
	for i := 1; i <= n; i++ {
		if err := do(i); err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
	}
	gotRequests := float64(m.requests.Load()-r) / float64(n)
	gotBytes := (m.metric("etcd_network_client_grpc_received_bytes_total") - b) / float64(n)
	m.t.Logf("%-22s %5.2f requests, %6.0f bytes, %6.0f of the log", what, gotRequests, gotBytes, (m.metric("etcd_disk_wal_write_bytes_total")-w)/float64(n))
	if math.Abs(gotRequests-requests) > 0.1*requests || math.Abs(gotBytes-bytes) > 0.1*bytes {
		m.t.Errorf("%s: %.2f requests of %.0f bytes together, the documentation says %v and %v", what, gotRequests, gotBytes, requests, bytes)
	}
}

// The figures are those of keys like "jobs/0042" and values of 10 bytes.
func TestCosts(t *testing.T) {
	m := newMeter(t)
	ctx := t.Context()
	key := func(i int) string { return fmt.Sprintf("jobs/%04d", i) }
	value := []byte("0123456789")
	put := func(i int) etcd.TxnRequest {
		return etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key(i), Value: value}}}
	}
	m.measure("etcd Put", 100, 1, 23, func(i int) error {
		_, err := m.client.Put(ctx, etcd.PutRequest{Key: key(i), Value: value})
		return err
	})
	m.measure("etcd Txn", 100, 1, 27, func(i int) error { _, err := m.client.Txn(ctx, put(i)); return err })
	w, err := idempotent.NewWriter(ctx, m.co, idempotent.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	m.measure("Writer.Txn", 100, 1, 177, func(i int) error { _, err := w.Txn(ctx, put(i)); return err })
	m.measure("Writer.Once", 100, 1, 159, func(i int) error { _, err := w.Once(ctx, key(i), put(i)); return err })
	transfer := func(config stm.Config) func(int) error {
		return func(i int) error {
			_, err := stm.Run(ctx, m.client, config, func(tx *stm.Tx) error {
				for _, k := range []string{key(i), key(i + 1)} {
					if _, _, err := tx.Get(k); err != nil {
						return err
					}
					if err := tx.Put(etcd.PutRequest{Key: k, Value: value}); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		}
	}
	m.measure("stm.Run of two keys", 100, 3, 145, transfer(stm.Config{}))
	m.measure("the same with a Writer", 100, 3, 360, transfer(stm.Config{Writer: w}))
	numbers, err := sequence.New(m.client, sequence.Config{Name: "numbers", Block: 1})
	if err != nil {
		t.Fatal(err)
	}
	m.measure("Sequence block", 100, 1, 82, func(int) error { _, err := numbers.Next(ctx); return err })
	counter := sequence.NewCounter(w, "counter")
	m.measure("Counter.Add", 100, 1, 263, func(int) error { _, err := counter.Add(ctx, 1); return err })
	q, err := queue.New(m.co, queue.Config{Name: "mail"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close(context.Background())
	m.measure("queue Add", 100, 1, 250, func(i int) error { return q.Add(ctx, queue.Item{ID: fmt.Sprintf("%04d", i), Value: value}) })
	claims := make([]*queue.Claim, 0, 101)
	m.measure("queue Take", 100, 1, 188, func(int) error {
		cl, err := q.Take(ctx)
		claims = append(claims, cl)
		return err
	})
	m.measure("queue Ack", 100, 1, 274, func(i int) error { return claims[i].Ack(ctx) })
	mutex := m.co.Mutex("locks/one", concurrency.MutexConfig{})
	m.measure("Lock and Unlock", 100, 2, 292, func(int) error {
		l, err := mutex.Lock(ctx)
		if err != nil {
			return err
		}
		return l.Unlock(ctx)
	})
	m.measure("group of 16 partitions", 10, 36, 5540, func(int) error {
		started := make(chan struct{}, 16)
		g, err := group.Join(ctx, m.co, group.Config{Name: "index", Partitions: 16, Member: "host-1", Settle: -1}, func(ctx context.Context, _ *group.Partition) error {
			started <- struct{}{}
			<-ctx.Done()
			return nil
		})
		if err != nil {
			return err
		}
		for range 16 {
			<-started
		}
		return g.Leave(ctx)
	})
}
