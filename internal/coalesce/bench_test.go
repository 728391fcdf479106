package coalesce

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"silly.store/etcd/internal/call"
)

// BenchmarkCoalescer measures the coalescer's own cost: Send answers as soon as the
// other callers have run, so that they find a request in flight. Each caller has its
// own key. calls/request is how many calls shared a request.
func BenchmarkCoalescer(b *testing.B) {
	for _, op := range []*Operation{Get, Put} {
		for _, callers := range []int{16, 256} {
			b.Run(fmt.Sprintf("%s/%d", op.Single.Op, callers), func(b *testing.B) { benchmarkCalls(b, op, callers) })
		}
	}
}

func benchmarkCalls(b *testing.B, op *Operation, callers int) {
	var requests atomic.Int64
	answers := newAnswers(op, callers)
	c := New(Config{Reads: true, Writes: true, Send: func(_ context.Context, r call.Request) ([]byte, *call.Error) {
		requests.Add(1)
		runtime.Gosched()
		if r.Progress == nil {
			return bytes.Clone(answers[1]), nil
		}
		return bytes.Clone(answers[r.Progress.Calls]), nil
	}})
	var key atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		key := fmt.Sprint("key", key.Add(1))
		msg, ctx := rangeMessage(key), context.Background()
		for pb.Next() {
			w := c.Begin(ctx, "", key)
			w.Message = append(w.Message, msg...)
			if _, err := c.Do(ctx, op, w); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(requests.Load()), "calls/request")
	c.Close()
	c.Wait()
}

// newAnswers returns the answers to requests of up to most calls, by number of
// calls.
func newAnswers(op *Operation, most int) [][]byte {
	one, within := getReply(testHeader, "value"), getReply(inHeader, "value")
	answers := [][]byte{nil, one}
	for n := 2; n <= most; n++ {
		answers = append(answers, txnReply(op.field, slices.Repeat([][]byte{within}, n)...))
	}
	return answers
}
