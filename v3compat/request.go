package v3compat

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"silly.store/etcd"
)

// Requests of client/v3 as our own. What etcd accepts and we refuse, because it
// is most likely a mistake, is put in other words here: code that runs on
// client/v3 has the same answers from us. What etcd refuses before it looks at
// its store is refused with its error.

func getRequest(r *pb.RangeRequest) (req etcd.GetRequest, err error) {
	switch {
	case len(r.Key) == 0:
		return req, rpctypes.ErrGRPCEmptyKey
	case !validSort(r):
		return req, rpctypes.ErrGRPCInvalidSortOption
	}
	req = etcd.GetRequest{
		Key: string(r.Key), RangeEnd: string(r.RangeEnd),
		Limit: max(r.Limit, 0), Revision: max(r.Revision, 0),
		SortOrder: etcd.SortOrder(r.SortOrder), SortTarget: etcd.SortTarget(r.SortTarget),
		Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
		MinModRevision: max(r.MinModRevision, 0), MaxModRevision: r.MaxModRevision,
		MinCreateRevision: max(r.MinCreateRevision, 0), MaxCreateRevision: r.MaxCreateRevision,
	}
	if passesNone(r.MinModRevision, r.MaxModRevision) || passesNone(r.MinCreateRevision, r.MaxCreateRevision) {
		req.CountOnly = true
		req.MinModRevision, req.MaxModRevision, req.MinCreateRevision, req.MaxCreateRevision = 0, 0, 0, 0
	}
	req.KeysOnly = req.KeysOnly && !req.CountOnly
	return req, nil
}

func validSort(r *pb.RangeRequest) bool {
	_, order := pb.RangeRequest_SortOrder_name[int32(r.SortOrder)]
	_, target := pb.RangeRequest_SortTarget_name[int32(r.SortTarget)]
	return order && target
}

// passesNone: a filter with these bounds drops every pair. The count of a range
// ignores filters.
func passesNone(low, high int64) bool {
	return high < 0 || high > 0 && low > high
}

func putRequest(r *pb.PutRequest) (etcd.PutRequest, error) {
	switch {
	case len(r.Key) == 0:
		return etcd.PutRequest{}, rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) > 0:
		return etcd.PutRequest{}, rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return etcd.PutRequest{}, rpctypes.ErrGRPCLeaseProvided
	}
	return etcd.PutRequest{
		Key: string(r.Key), Value: r.Value, Lease: etcd.LeaseID(r.Lease), PrevKV: r.PrevKv,
		IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
	}, nil
}

func deleteRequest(r *pb.DeleteRangeRequest) (etcd.DeleteRequest, error) {
	if len(r.Key) == 0 {
		return etcd.DeleteRequest{}, rpctypes.ErrGRPCEmptyKey
	}
	if first, end := string(r.Key), string(r.RangeEnd); first != fromKey || end != fromKey {
		return etcd.DeleteRequest{Key: first, RangeEnd: end, PrevKV: r.PrevKv}, nil
	}
	return etcd.DeleteRequest{All: true, PrevKV: r.PrevKv}, nil // what WithFromKey makes of ""
}

func txnRequest(r *pb.TxnRequest) (req etcd.TxnRequest, err error) {
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return req, rpctypes.ErrGRPCEmptyKey
		}
		req.If = append(req.If, compare(c))
	}
	if req.Then, err = ops(r.Success); err != nil {
		return req, err
	}
	req.Else, err = ops(r.Failure)
	req.Serializable = asksForLocalState(r)
	return req, err
}

// asksForLocalState: every operation is a read, and each of them says serializable. A
// transaction without any operation says nothing.
func asksForLocalState(r *pb.TxnRequest) bool {
	for _, ops := range [...][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if !op.GetRequestRange().GetSerializable() {
				return false
			}
		}
	}
	return len(r.Success)+len(r.Failure) > 0
}

// compare takes the operand that Target names, as etcd does.
func compare(c *pb.Compare) etcd.Compare {
	out := etcd.Compare{
		Key: string(c.Key), RangeEnd: string(c.RangeEnd),
		Target: etcd.CompareTarget(c.Target), Result: etcd.CompareResult(c.Result),
	}
	switch c.Target {
	case pb.Compare_VERSION:
		out.Version = c.GetVersion()
	case pb.Compare_CREATE:
		out.CreateRevision = c.GetCreateRevision()
	case pb.Compare_MOD:
		out.ModRevision = c.GetModRevision()
	case pb.Compare_VALUE:
		out.Value = c.GetValue()
	case pb.Compare_LEASE:
		out.Lease = etcd.LeaseID(c.GetLease())
	}
	return out
}

func ops(in []*pb.RequestOp) ([]etcd.Op, error) {
	out := make([]etcd.Op, len(in))
	for i, r := range in {
		var err error
		if out[i], err = op(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func op(r *pb.RequestOp) (etcd.Op, error) {
	switch r := r.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return getRequest(r.RequestRange)
	case *pb.RequestOp_RequestPut:
		return putRequest(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return deleteRequest(r.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		txn, err := txnRequest(r.RequestTxn)
		txn.Serializable = false // that counts for the outermost only, which now writes for etcd
		return txn, err
	}
	return nil, statusErrorf("operation of a transaction is %T, which is no operation", r.Request)
}
