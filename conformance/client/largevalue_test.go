package client

import (
	"bytes"
	"testing"
	"time"

	"silly.store/etcd"
)

// etcd reads a Put whose value comes last in its message, as that of a large one does, with
// all of its fields.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var before []byte
	for _, size := range []int{100, 8 << 10, 100_000, 1_000_000} {
		v := bytes.Repeat([]byte{byte(size), 1, 2, 3, 4}, size/5)
		resp, err := c.Put(t.Context(), etcd.PutRequest{Key: p + "k", Value: v, Lease: lease.ID, PrevKV: true})
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && (resp.PrevKV == nil || !bytes.Equal(resp.PrevKV.Value, before)) {
			t.Errorf("a value of %d bytes: the previous one is not what was put", size)
		}
		if kv := stored(t, c, p+"k"); !bytes.Equal(kv.Value, v) || kv.Lease != lease.ID {
			t.Errorf("a value of %d bytes is stored as %d, lease %d", size, len(kv.Value), kv.Lease)
		}
		before = v
	}
}
