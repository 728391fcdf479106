package idempotent

import (
	"testing"
	"time"

	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/idempotent"
)

// A member takes a request and never answers it, as one does whose leader dies with the
// request, while its connection is up. The context lets the write wait for a minute; the
// request is made again long before, with another member.
func TestRequestsThatAreNeverAnswered(t *testing.T) {
	t.Parallel()
	const soon = 5 * time.Second
	for what, text := range map[string]func(name, key string) string{
		"the making of a lane": func(name, _ string) string { return name },
		"the write":            func(_, key string) string { return key },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.FaultyDetour(t)
			name, key := "writer/"+t.Name(), testbed.OwnName(t)
			w, co := open(t, c, idempotent.Config{Name: name})
			if _, err := co.Session(t.Context()); err != nil {
				t.Fatal(err)
			}
			hit := f.Arm(onefault.Stall, text(name, key))
			began := time.Now()
			if _, err := w.Txn(testbed.Within(t, time.Minute), putOf(key)); err != nil {
				t.Error(err)
			}
			<-hit
			if d := time.Since(began); d > soon {
				t.Errorf("it took %v", d)
			}
			if kv := testbed.Get(t, c, key); kv.Version != 1 {
				t.Errorf("applied %d times", kv.Version)
			}
		})
	}
}
