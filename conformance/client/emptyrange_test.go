package client

import (
	"fmt"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Ranges in which no key can lie, of keys under p that exist.
func emptyRanges(p string) [][2]string {
	return [][2]string{{p + "b", p + "b"}, {p + "b", p + "a"}, {p + "zz", p + "a"}, {p + "b\x00", p + "b"}}
}

// A loop that pages by hand asks for an empty range behind the last key.
func TestPagingByHandEnds(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	for i := range 5 {
		put(t, c, fmt.Sprint(p, i), "")
	}
	next, seen := p, 0
	for {
		page := get(t, c, etcd.GetRequest{Key: next, RangeEnd: p + "4\x00", Limit: 2})
		if len(page.KVs) == 0 {
			break
		}
		seen += len(page.KVs)
		next = page.KVs[len(page.KVs)-1].Key + "\x00"
	}
	if seen != 5 || next != p+"4\x00" {
		t.Errorf("saw %d keys of 5, and ended in front of %q", seen, next)
	}
}

// However calls are sent: alone, or in company, where an empty range has to stay a range.
func TestEmptyRangesReadAndDeleteNothing(t *testing.T) {
	t.Parallel()
	for _, coalesce := range []etcd.Coalesce{etcd.CoalesceOff, etcd.CoalesceAll} {
		t.Run(coalesce.String(), func(t *testing.T) {
			t.Parallel()
			c := connect(t, etcd.Config{Coalesce: coalesce})
			p := ownKeys(t)
			put(t, c, p+"a", "1")
			at := put(t, c, p+"b", "2")
			var all sync.WaitGroup
			for _, r := range emptyRanges(p) {
				for range 16 {
					all.Go(func() { rangeIsEmpty(t, c, p, r, at) })
				}
			}
			all.Wait()
			if left := keysOf(get(t, c, etcd.GetRequest{Key: p, Prefix: true}).KVs, p); left != "a b c" {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// rangeIsEmpty checks what every operation says of an empty range. It may be called in any
// goroutine.
func rangeIsEmpty(t *testing.T, c *etcd.Client, p string, r [2]string, at int64) {
	for name, req := range map[string]etcd.GetRequest{
		"all": {}, "serializable": {Serializable: true}, "count": {CountOnly: true}, "keys": {KeysOnly: true},
		"of the past": {Revision: at}, "sorted": {SortOrder: etcd.Descend, SortTarget: etcd.SortByValue}, "limited": {Limit: 1},
	} {
		req.Key, req.RangeEnd = r[0], r[1]
		if resp, err := c.Get(t.Context(), req); err != nil || len(resp.KVs) != 0 || resp.Count != 0 || resp.More || resp.Header.Revision < at {
			t.Errorf("Get %q, %s: %+v, %v", r, name, resp, err)
		}
	}
	ranged, err := c.Range(t.Context(), etcd.GetRequest{Key: r[0], RangeEnd: r[1]})
	if err != nil {
		t.Errorf("Range %q: %v", r, err)
		return
	}
	for kv, err := range ranged.All() {
		t.Errorf("Range %q: %v, %v", r, kv, err)
	}
	if ranged.Count() != 0 || ranged.Revision() < at {
		t.Errorf("Range %q: count %d, revision %d", r, ranged.Count(), ranged.Revision())
	}
	deleted, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: r[0], RangeEnd: r[1], PrevKV: true})
	if err != nil || deleted.Deleted != 0 || deleted.PrevKVs != nil || deleted.Header.Revision < at {
		t.Errorf("Delete %q: %+v, %v", r, deleted, err)
	}
	if deleted, err = c.Delete(t.Context(), etcd.DeleteRequest{Key: r[0], RangeEnd: r[1]}); err != nil || deleted.Deleted != 0 {
		t.Errorf("Delete %q without previous values: %+v, %v", r, deleted, err)
	}
	resp, err := c.Txn(t.Context(), etcd.TxnRequest{Then: ops(
		etcd.GetRequest{Key: r[0], RangeEnd: r[1]}, etcd.DeleteRequest{Key: r[0], RangeEnd: r[1]}, etcd.PutRequest{Key: p + "c"},
		etcd.TxnRequest{Then: ops(etcd.DeleteRequest{Key: r[0], RangeEnd: r[1]})},
	)})
	if err != nil {
		t.Errorf("Txn of %q: %v", r, err)
		return
	}
	if got, del := resp.Responses[0].Get, resp.Responses[1].Delete; len(got.KVs) != 0 || got.Count != 0 || del.Deleted != 0 {
		t.Errorf("Txn of %q: %+v and %+v", r, got, del)
	}
	if nested := resp.Responses[3].Txn.Responses[0].Delete; nested.Deleted != 0 {
		t.Errorf("nested Delete %q: %+v", r, nested)
	}
	results := c.Batch(t.Context(), ops(etcd.GetRequest{Key: r[0], RangeEnd: r[1]}, etcd.DeleteRequest{Key: r[0], RangeEnd: r[1]})...)
	if err := results.Err(); err != nil || results[0].Get.Count != 0 || results[1].Delete.Deleted != 0 {
		t.Errorf("Batch of %q: %+v, %v", r, results, err)
	}
}

// Compares over an empty range are evaluated by etcd, and as a request of another
// client's is: like those of one key that does not exist.
func TestEmptyRangesCompared(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	put(t, c, p+"a", "1")
	put(t, c, p+"b", "2")
	other := pb.NewKVClient(official(t, testbed.Shared))
	theirs := map[etcd.CompareTarget]func(*pb.Compare, int64){
		etcd.TargetVersion:        func(c *pb.Compare, n int64) { c.TargetUnion = &pb.Compare_Version{Version: n} },
		etcd.TargetCreateRevision: func(c *pb.Compare, n int64) { c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: n} },
		etcd.TargetModRevision:    func(c *pb.Compare, n int64) { c.TargetUnion = &pb.Compare_ModRevision{ModRevision: n} },
		etcd.TargetLease:          func(c *pb.Compare, n int64) { c.TargetUnion = &pb.Compare_Lease{Lease: n} },
		etcd.TargetValue:          func(c *pb.Compare, n int64) { c.TargetUnion = &pb.Compare_Value{Value: fmt.Append(nil, n)} },
	}
	held := 0
	for _, r := range emptyRanges(p) {
		for target, operand := range theirs {
			for _, result := range []etcd.CompareResult{etcd.Equal, etcd.NotEqual, etcd.Less, etcd.Greater} {
				for n := int64(-1); n <= 1; n++ {
					ours := etcd.Compare{Key: r[0], RangeEnd: r[1], Target: target, Result: result}
					switch target {
					case etcd.TargetVersion:
						ours.Version = n
					case etcd.TargetCreateRevision:
						ours.CreateRevision = n
					case etcd.TargetModRevision:
						ours.ModRevision = n
					case etcd.TargetLease:
						ours.Lease = etcd.LeaseID(n)
					case etcd.TargetValue:
						ours.Value = fmt.Append(nil, n)
					}
					compare := &pb.Compare{
						Key: []byte(r[0]), RangeEnd: []byte(r[1]),
						Target: pb.Compare_CompareTarget(target), Result: pb.Compare_CompareResult(result),
					}
					operand(compare, n)
					want, err := other.Txn(t.Context(), &pb.TxnRequest{Compare: []*pb.Compare{compare}})
					if err != nil {
						t.Fatal(err)
					}
					for _, req := range []etcd.TxnRequest{
						{If: []etcd.Compare{ours}}, {If: []etcd.Compare{ours}, Serializable: true},
						{If: []etcd.Compare{ours}, Then: ops(etcd.PutRequest{Key: p + "c"})},
					} {
						if got := txn(t, c, req); got.Succeeded != want.Succeeded {
							t.Errorf("%+v: %v, want %v", ours, got.Succeeded, want.Succeeded)
						}
					}
					if want.Succeeded {
						held++
					}
				}
			}
		}
	}
	if want := len(emptyRanges(p)) * 4 * (1 + 2 + 1 + 1); held != want {
		t.Errorf("%d compares held, want %d: is an empty range no longer like a key that does not exist?", held, want)
	}
}

// The read that makes a transaction of compares linearizable asks for no
// permission that these do not need.
func TestEmptyRangeComparedWithFewPermissions(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	root := authOn(t, s)
	a := root.Auth()
	must(t)(a.RoleAdd(t.Context(), etcd.RoleAddRequest{Name: "part"}))
	must(t)(a.RoleGrantPermission(t.Context(), etcd.RoleGrantPermissionRequest{Role: "part", Key: root.Prefix() + "b", RangeEnd: root.Prefix() + "d"}))
	must(t)(a.UserAdd(t.Context(), etcd.UserAddRequest{Name: "ann", Password: "pw"}))
	must(t)(a.UserGrantRole(t.Context(), etcd.UserGrantRoleRequest{User: "ann", Role: "part"}))
	ann := asUser(t, s, "ann", "pw")
	for _, r := range [][2]string{{"b", "b"}, {"b", "a"}, {"c", "b"}, {"c", "a"}} {
		compare := etcd.Compare{Key: r[0], RangeEnd: r[1], Target: etcd.TargetVersion}
		for _, serializable := range []bool{true, false} {
			resp, err := ann.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{compare}, Serializable: serializable})
			if err != nil || !resp.Succeeded {
				t.Errorf("%q, serializable %v: %+v, %v", r, serializable, resp, err)
			}
		}
	}
	_, err := ann.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{{Key: "d", RangeEnd: "b"}}})
	wants(t, err, etcd.ErrPermissionDenied, etcd.OutcomeRejected)
}
