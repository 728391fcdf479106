package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// twins are a whole store and a view of another one, which has neighbours. What is done to
// both must have the same result, but for the revisions, which are offset.
type twins struct {
	whole, view *etcd.Client
	neighbours  *etcd.Client // that the view is of
	offset      int64
	random      *rand.Rand
	putsInTxn   bool // the transaction that is being made
}

func startTwins(t *testing.T, prefix string, coalesce etcd.Coalesce) *twins {
	t.Helper()
	w := &twins{random: rand.New(rand.NewPCG(1, rand.Uint64()))}
	client := func() *etcd.Client {
		c, err := etcd.New(etcd.Config{Endpoints: etcdtest.Start(t).Endpoints(), Coalesce: coalesce})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	w.whole, w.neighbours = client(), client()
	for _, key := range namespaced.Neighbours(prefix) {
		put(t, w.neighbours, key, "neighbour")
	}
	w.view = w.neighbours.Namespace(prefix)
	w.offset = get(t, w.neighbours, etcd.GetRequest{Key: "k"}).Header.Revision - get(t, w.whole, etcd.GetRequest{Key: "k"}).Header.Revision
	return w
}

// key is one of few, at the edges of their alphabet.
func (w *twins) key() string {
	const alphabet = "\x00ab\xfe\xff"
	b := make([]byte, 1+w.random.IntN(2))
	for i := range b {
		b[i] = alphabet[w.random.IntN(len(alphabet))]
	}
	return string(b)
}

// span names one key or a range, in one of the ways in which a request can.
func (w *twins) span() (key string, prefix, fromKey bool, rangeEnd string) {
	switch w.random.IntN(8) {
	case 0:
		return "", true, false, ""
	case 1:
		return "", false, true, ""
	case 2:
		return w.key(), true, false, ""
	case 3:
		return w.key(), false, true, ""
	case 4:
		return w.key(), false, false, w.key() // often empty
	case 5:
		return w.key(), false, false, "\x00"
	}
	return w.key(), false, false, ""
}

func (w *twins) get() etcd.GetRequest {
	var r etcd.GetRequest
	r.Key, r.Prefix, r.FromKey, r.RangeEnd = w.span()
	r.Limit = int64(w.random.IntN(3))
	r.SortOrder, r.SortTarget = etcd.SortOrder(w.random.IntN(3)), etcd.SortTarget(w.random.IntN(5))
	r.CountOnly = w.random.IntN(8) == 0
	return r
}

func (w *twins) put() etcd.PutRequest {
	return etcd.PutRequest{Key: w.key(), Value: fmt.Append(nil, w.random.IntN(100)), PrevKV: w.random.IntN(2) == 0}
}

func (w *twins) remove() etcd.DeleteRequest {
	r := etcd.DeleteRequest{PrevKV: w.random.IntN(2) == 0}
	r.Key, r.Prefix, r.FromKey, r.RangeEnd = w.span()
	r.All = r.Key == ""
	return r
}

func (w *twins) compare() etcd.Compare {
	c := etcd.Compare{Target: etcd.TargetVersion, Result: etcd.CompareResult(w.random.IntN(4)), Version: int64(w.random.IntN(3))}
	c.Key, c.Prefix, c.FromKey, c.RangeEnd = w.span()
	return c
}

// txn has no put beside a deletion to the last key: in a whole store etcd overlooks that it
// deletes what is put, which it refuses elsewhere.
func (w *twins) txn(depth int) etcd.TxnRequest {
	if depth == maxDepth {
		w.putsInTxn = w.random.IntN(2) == 0
	}
	var r etcd.TxnRequest
	for range w.random.IntN(3) {
		r.If = append(r.If, w.compare())
	}
	for _, branch := range []*[]etcd.Op{&r.Then, &r.Else} {
		for range w.random.IntN(3) {
			*branch = append(*branch, w.operation(depth))
		}
	}
	return r
}

// maxDepth is how deep transactions nest.
const maxDepth = 2

func (w *twins) operation(depth int) etcd.Op {
	switch w.random.IntN(5) {
	case 0:
		if depth > 0 {
			return w.txn(depth - 1)
		}
	case 1:
		r := w.remove()
		for w.putsInTxn && (r.FromKey || r.All || r.RangeEnd == "\x00" || r.Prefix && strings.ReplaceAll(r.Key, "\xff", "") == "") {
			r = w.remove()
		}
		return r
	case 2:
		if w.putsInTxn {
			return w.put()
		}
	}
	return w.get()
}

// both makes a request to both and compares what it says of the answers.
func (w *twins) both(t *testing.T, what any, do func(c *etcd.Client, offset int64) (string, error)) {
	t.Helper()
	want, wantErr := do(w.whole, 0)
	got, gotErr := do(w.view, w.offset)
	if got != want || sentinelOf(gotErr) != sentinelOf(wantErr) {
		t.Fatalf("%+v\nin the view %s, %v\nin a store  %s, %v", what, got, gotErr, want, wantErr)
	}
}

// sentinelOf is an error without the names of the endpoint.
func sentinelOf(err error) string {
	var e *etcd.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(e.Op, e.Code, e.Message, e.Outcome)
}

func pairs(kvs []etcd.KeyValue, offset int64) string {
	var b strings.Builder
	for _, kv := range kvs {
		if kv.CreateRevision == 0 {
			kv.CreateRevision = offset // of a deletion
		}
		fmt.Fprintf(&b, " %q=%s@%d/%d.%d", kv.Key, kv.Value, kv.ModRevision-offset, kv.CreateRevision-offset, kv.Version)
	}
	return b.String()
}

func described(r etcd.OpResponse, offset int64) string {
	switch {
	case r.Get != nil:
		return fmt.Sprint("get@", r.Get.Header.Revision-offset, pairs(r.Get.KVs, offset), " of ", r.Get.Count, r.Get.More)
	case r.Put != nil && r.Put.PrevKV != nil:
		return fmt.Sprint("put@", r.Put.Header.Revision-offset, pairs([]etcd.KeyValue{*r.Put.PrevKV}, offset))
	case r.Put != nil:
		return fmt.Sprint("put@", r.Put.Header.Revision-offset)
	case r.Delete != nil:
		return fmt.Sprint("deleted ", r.Delete.Deleted, "@", r.Delete.Header.Revision-offset, pairs(r.Delete.PrevKVs, offset))
	case r.Txn != nil:
		text := fmt.Sprint(r.Txn.Succeeded, "(")
		for _, op := range r.Txn.Responses {
			text += described(op, offset) + "; "
		}
		return text + ")"
	}
	return "nothing"
}

// step makes one random request.
func (w *twins) step(t *testing.T) {
	ctx := t.Context()
	switch w.random.IntN(6) {
	case 0:
		r := w.txn(maxDepth)
		w.both(t, r, func(c *etcd.Client, offset int64) (string, error) {
			resp, err := c.Txn(ctx, r)
			return described(etcd.OpResponse{Txn: resp}, offset), err
		})
	case 1:
		r := w.remove()
		w.both(t, r, func(c *etcd.Client, offset int64) (string, error) {
			resp, err := c.Delete(ctx, r)
			return described(etcd.OpResponse{Delete: resp}, offset), err
		})
	case 2:
		r := w.get()
		w.both(t, r, func(c *etcd.Client, offset int64) (string, error) {
			resp, err := c.Get(ctx, r)
			return described(etcd.OpResponse{Get: resp}, offset), err
		})
	case 3:
		r := w.get()
		r.SortOrder, r.SortTarget, r.CountOnly = 0, 0, false
		w.both(t, r, func(c *etcd.Client, offset int64) (string, error) {
			all, err := c.Range(ctx, r)
			if err != nil {
				return "", err
			}
			return pairs(collect(t, all), offset) + fmt.Sprint(" of ", all.Count()), nil
		})
	case 4: // reads beside each other, then writes: their order is undefined otherwise
		r := []etcd.Op{w.get(), w.get(), w.get()}
		w.both(t, r, func(c *etcd.Client, offset int64) (text string, err error) {
			for _, one := range c.Batch(ctx, r...) {
				text += described(one.OpResponse, offset)
				err = errors.Join(err, one.Err)
			}
			return text, err
		})
	default:
		r := w.put()
		w.both(t, r, func(c *etcd.Client, offset int64) (string, error) {
			resp, err := c.Put(ctx, r)
			return described(etcd.OpResponse{Put: resp}, offset), err
		})
	}
}

// A view is like its own store: random requests have the results that they have in one,
// watches report the same, and the neighbours are not touched.
func TestNamespaceIsLikeAStore(t *testing.T) {
	t.Parallel()
	for prefix, steps := range map[string]int{"t/": 1500, "\xff": 500} {
		t.Run(fmt.Sprintf("%q", prefix), func(t *testing.T) {
			t.Parallel()
			w := startTwins(t, prefix, etcd.CoalesceAll)
			before := get(t, w.neighbours, etcd.GetRequest{Prefix: true})
			watches := w.watch(t)
			for range steps {
				w.step(t)
			}
			w.compareWatches(t, watches)
			if _, err := w.view.Delete(t.Context(), etcd.DeleteRequest{All: true}); err != nil {
				t.Fatal(err)
			}
			if after := get(t, w.neighbours, etcd.GetRequest{Prefix: true}); pairs(after.KVs, 0) != pairs(before.KVs, 0) {
				t.Errorf("the neighbours were\n%s, and are\n%s", pairs(before.KVs, 0), pairs(after.KVs, 0))
			}
		})
	}
}

// watch opens watches of both: of everything, of a range and of one key.
func (w *twins) watch(t *testing.T) (all [][2]*etcd.Watcher) {
	t.Helper()
	for _, r := range []etcd.WatchRequest{
		{Prefix: true, PrevKV: true}, {Prefix: true, Fragment: true}, {Key: "a", FromKey: true}, {Key: "a", RangeEnd: "b"}, {Key: "b", PrevKV: true}, {Key: "\xff", Prefix: true},
	} {
		var two [2]*etcd.Watcher
		for i, c := range []*etcd.Client{w.whole, w.view} {
			watcher, err := c.Watch(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = watcher.Close() })
			two[i] = watcher
		}
		all = append(all, two)
	}
	return all
}

// compareWatches has both end with a put that the watches see, and compares them.
func (w *twins) compareWatches(t *testing.T, all [][2]*etcd.Watcher) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for _, c := range []*etcd.Client{w.whole, w.view} {
		for _, key := range []string{"a", "b", "\xff"} {
			put(t, c, key, "last")
		}
	}
	for i, two := range all {
		want, got := changes(t, ctx, two[0], 0), changes(t, ctx, two[1], w.offset)
		if !slices.Equal(got, want) || len(want) < 3 {
			t.Errorf("watch %d reported %d changes, and of a store %d", i, len(got), len(want))
		}
	}
}

// changes reads until a change to "last" after which none comes: the watches of one key see
// one, the others up to three.
func changes(t *testing.T, ctx context.Context, w *etcd.Watcher, offset int64) (list []string) {
	t.Helper()
	w.RequestProgress()
	for resp, err := range w.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if resp.IsProgress() {
			return list
		}
		for _, ev := range resp.Events {
			text := fmt.Sprint(ev.Type, pairs([]etcd.KeyValue{ev.KV}, offset))
			if ev.PrevKV != nil {
				text += pairs([]etcd.KeyValue{*ev.PrevKV}, offset)
			}
			list = append(list, text)
		}
	}
	return list
}

// A put in a view and one of the same key from outside never share a request, in which etcd
// would refuse the second.
func TestNamespaceSharesInOrder(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceAll})
	p := ownKeys(t)
	view := c.Namespace(p)
	var waits []<-chan error
	for i := range 200 {
		value := fmt.Append(nil, i)
		waits = append(waits,
			async(func() error { _, err := c.Put(t.Context(), etcd.PutRequest{Key: p + "k", Value: value}); return err }),
			async(func() error { _, err := view.Put(t.Context(), etcd.PutRequest{Key: "k", Value: value}); return err }),
		)
	}
	for _, wait := range waits {
		if err := await(t, wait); err != nil {
			t.Fatal(err)
		}
	}
	if kv := stored(t, c, p+"k"); kv.Version != 400 {
		t.Errorf("%d puts were applied", kv.Version)
	}
}

func TestNamespaceNests(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	outer := c.Namespace(p)
	inner, same := outer.Namespace("in/"), c.Namespace("")
	put(t, inner, "k", "1")
	if kv := stored(t, c, p+"in/k"); string(kv.Value) != "1" {
		t.Errorf("from outside it is %+v", kv)
	}
	if kv := stored(t, outer, "in/k"); kv.Key != "in/k" {
		t.Errorf("from between it is %+v", kv)
	}
	if kv := stored(t, same, p+"in/k"); kv.Key != p+"in/k" {
		t.Errorf("from a view of all it is %+v", kv)
	}
	if kvs := get(t, inner, etcd.GetRequest{Prefix: true}).KVs; keysOf(kvs, "") != "k" {
		t.Errorf("inside there are %v", kvs)
	}
}

// The client lives on when a view is closed, and the view ends with the client.
func TestNamespaceClose(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	view := c.Namespace(ownKeys(t))
	for _, close := range []func() error{view.Close, c.Namespace("").Close, view.Namespace("x").Close} {
		if err := close(); err != nil {
			t.Error(err)
		}
	}
	put(t, view, "k", "")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if namespaced.Prefix != "" {
		return // c is a view too
	}
	_, err := view.Get(t.Context(), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrClosed, etcd.OutcomeNotSent)
}

// What the client refuses is named as the user knows it, and the empty key stays refused.
func TestNamespaceErrors(t *testing.T) {
	t.Parallel()
	view := connect(t, etcd.Config{}).Namespace("secret/")
	ctx := t.Context()
	for text, f := range map[string]func() error{
		"PutRequest.Key is empty":    func() error { _, err := view.Put(ctx, etcd.PutRequest{}); return err },
		"GetRequest.Key is empty":    func() error { _, err := view.Get(ctx, etcd.GetRequest{}); return err },
		"DeleteRequest.Key is empty": func() error { _, err := view.Delete(ctx, etcd.DeleteRequest{Prefix: true}); return err },
		`RangeEnd "a" is not above Key "b"`: func() error {
			_, err := view.Watch(ctx, etcd.WatchRequest{Key: "b", RangeEnd: "a"})
			return err
		},
		"If[0].Key is empty": func() error { _, err := view.Txn(ctx, etcd.TxnRequest{If: []etcd.Compare{{}}}); return err },
	} {
		err := f()
		refused(t, err, etcd.ErrInvalidRequest, text)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error names keys that its reader does not know: %v", err)
		}
	}
}

// The keys on a lease are those of the view.
func TestNamespaceLeaseKeys(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	view := c.Namespace(p)
	lease, err := view.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []etcd.PutRequest{{Key: p + "in"}, {Key: p}, {Key: strings.TrimSuffix(p, "/") + "0"}} {
		r.Lease = lease.ID
		if _, err := c.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	ttl, err := view.TTL(t.Context(), etcd.TTLRequest{ID: lease.ID, Keys: true})
	if err != nil || !slices.Equal(ttl.Keys, []string{"in"}) {
		t.Errorf("keys %q, %v", ttl.Keys, err)
	}
	if err := lease.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	if kvs := get(t, view, etcd.GetRequest{Prefix: true}).KVs; len(kvs) > 0 {
		t.Errorf("%v are left", kvs)
	}
}

// A call for a single key takes no memory more in a view than outside.
func TestNamespaceAllocatesNothing(t *testing.T) {
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceAll})
	p := "a-long-enough-prefix-to-need-memory/" + ownKeys(t)
	view := c.Namespace(p)
	put(t, view, "k", "v")
	for name, call := range map[string]func(c *etcd.Client, key string) error{
		"Get": func(c *etcd.Client, key string) error {
			_, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
			return err
		},
		"Put": func(c *etcd.Client, key string) error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: key, PrevKV: true})
			return err
		},
		"Delete": func(c *etcd.Client, key string) error {
			_, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key + "/none"})
			return err
		},
	} {
		count := func(c *etcd.Client, key string) float64 {
			return testing.AllocsPerRun(200, func() {
				if err := call(c, key); err != nil {
					t.Fatal(err)
				}
			})
		}
		// The count is of the whole process, in which a server or a timer allocates now and
		// then; a call that takes more memory does so in each try.
		var outside, inside float64
		for try := range 5 {
			outside, inside = count(c, p+"k"), count(view, "k")
			if inside <= outside {
				break
			}
			t.Logf("%s, try %d: %v allocations inside, %v outside", name, try, inside, outside)
		}
		if inside > outside {
			t.Errorf("%s: %v allocations inside, %v outside", name, inside, outside)
		}
	}
}
