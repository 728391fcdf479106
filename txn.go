package etcd

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd/internal/rpc"
)

// TxnRequest is a transaction: if every compare of If holds, the operations of
// Then are applied, else those of Else; all at once, at one revision. It is
// also an [Op], so transactions nest.
//
// A key may be put only once in a transaction, and not also be deleted by it
// (ErrDuplicateKey). Operations see the effects of those before them.
type TxnRequest struct {
	// If holds the conditions; empty means Then.
	If []Compare
	// Then and Else hold the operations. Either may be empty.
	Then, Else []Op
	// Serializable lets the member evaluate a transaction that only reads from its
	// local state, without asking the leader: faster, and possibly behind. Every
	// GetRequest in it counts as serializable then, and it must hold no writes.
	//
	// Without it a transaction is linearizable, compares included, whatever its
	// GetRequests say.
	Serializable bool
}

// Op is an operation of a transaction: a [PutRequest], [GetRequest],
// [DeleteRequest] or [TxnRequest].
type Op interface {
	wireOp() (requestOp, error)
}

// Compare is one condition of a transaction. [Missing], [Exists], [Unchanged] and the
// Compare… functions make those for single keys; set Prefix, FromKey or RangeEnd to
// require it of every key of a range.
//
// A key that does not exist has version, revisions and lease 0. A condition on
// its value is false. A range without keys, also one whose RangeEnd is not above
// Key, is compared like one key that does not exist.
type Compare struct {
	// Key is required unless Prefix or FromKey is set, as in [GetRequest].
	Key string
	// Prefix, FromKey and RangeEnd widen the compare to a range; at most one.
	Prefix, FromKey bool
	RangeEnd        string

	// Target is what of the key is compared, and so which of the fields below counts.
	Target CompareTarget
	// Result is how it must compare with that field: key's version Result Version.
	Result CompareResult

	Version        int64
	CreateRevision int64
	ModRevision    int64
	Value          []byte
	Lease          LeaseID
}

// CompareVersion compares the number of puts since the key was created; 0 means
// that the key does not exist.
func CompareVersion(key string, result CompareResult, version int64) Compare {
	return Compare{Key: key, Target: TargetVersion, Result: result, Version: version}
}

// CompareCreateRevision compares the revision at which the key was created.
func CompareCreateRevision(key string, result CompareResult, revision int64) Compare {
	return Compare{Key: key, Target: TargetCreateRevision, Result: result, CreateRevision: revision}
}

// CompareModRevision compares the revision of the key's last put.
func CompareModRevision(key string, result CompareResult, revision int64) Compare {
	return Compare{Key: key, Target: TargetModRevision, Result: result, ModRevision: revision}
}

// CompareValue compares the key's value, byte by byte.
func CompareValue(key string, result CompareResult, value []byte) Compare {
	return Compare{Key: key, Target: TargetValue, Result: result, Value: value}
}

// CompareLease compares the lease that the key is on; 0 means none.
func CompareLease(key string, result CompareResult, lease LeaseID) Compare {
	return Compare{Key: key, Target: TargetLease, Result: result, Lease: lease}
}

// Missing is the condition that the key does not exist.
func Missing(key string) Compare { return CompareCreateRevision(key, Equal, 0) }

// Exists is the condition that the key exists.
func Exists(key string) Compare { return CompareCreateRevision(key, Greater, 0) }

// Unchanged is the condition that no client has put or deleted the key since kv was
// read: its ModRevision is still that of kv.
//
// Use [Missing] for a key that was not found: the zero KeyValue that
// [GetResponse.First] returns then has no Key, and a Txn refuses it with
// ErrInvalidRequest. [CompareModRevision] covers both. Use Missing also for the KV
// of an [EventDelete].
func Unchanged(kv KeyValue) Compare { return CompareModRevision(kv.Key, Equal, kv.ModRevision) }

// Txn applies a transaction. Succeeded reports whether the compares held;
// Responses has one entry for each operation of the branch that was taken.
//
// A transaction that only reads is retried like a read, any other like a write.
//
// Errors: ErrInvalidRequest, ErrTooManyOps, ErrDuplicateKey, ErrCompacted,
// ErrFutureRevision, ErrLeaseNotFound, ErrKeyNotFound, ErrRequestTooLarge, ErrNoSpace
// and those of every call (see [Error]). No part of a transaction is ever applied
// alone. It may have been applied if [MaybeApplied] says so.
//
// etcd: KV/Txn (since 3.0; nesting and range compares 3.3)
func (c *Client) Txn(ctx context.Context, req TxnRequest) (*TxnResponse, error) {
	if ctx == nil || c.observer.hooks.Call == nil {
		return c.txn(ctx, req)
	}
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.Txn.Op, Operations: max(len(req.Then), len(req.Else))})
	resp, err := c.txn(ctx, req)
	begun.end(err, resp)
	return resp, err
}

// txn is Txn as a part of a call.
func (c *Client) txn(ctx context.Context, req TxnRequest) (*TxnResponse, error) {
	resp := new(TxnResponse)
	wire, err := req.wire()
	method := rpc.Txn
	added := false
	if err == nil && wire.readOnly() {
		method = rpc.TxnRead
		if req.Serializable {
			method = rpc.TxnLocal
			wire.makeSerializable()
		} else {
			added = wire.makeLinearizable()
			if len(wire.Compare)+len(wire.Success)+len(wire.Failure) == 0 {
				method = rpc.TxnEmpty
			}
		}
	}
	if err == nil && req.Serializable && method != rpc.TxnLocal {
		err = errors.New("Serializable is set, but the transaction writes")
	}
	wire.enter(&c.space)
	if err := c.shareTxn(ctx, method, &wire, err, resp); err != nil {
		return nil, err
	}
	resp.leave(&c.space)
	if added && !resp.Succeeded && len(resp.Responses) > 0 {
		resp.Responses = nil // the answer to the read that makeLinearizable added
	}
	return resp, nil
}

func (r TxnRequest) wire() (txnRequest, error) {
	var w txnRequest
	if len(r.If) > 0 {
		w.Compare = make([]compare, len(r.If))
	}
	for i := range r.If {
		var err error
		if w.Compare[i], err = r.If[i].wire(); err != nil {
			return w, within(fmt.Sprintf("If[%d]", i), err)
		}
	}
	var err error
	if w.Success, err = wireOps("Then", r.Then); err != nil {
		return w, err
	}
	w.Failure, err = wireOps("Else", r.Else)
	return w, err
}

func wireOps(branch string, ops []Op) ([]requestOp, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	out := make([]requestOp, len(ops))
	for i, op := range ops {
		if isNil(op) {
			return nil, fmt.Errorf("%s[%d] is nil", branch, i)
		}
		var err error
		if out[i], err = op.wireOp(); err != nil {
			return nil, within(fmt.Sprintf("%s[%d]", branch, i), err)
		}
	}
	return out, nil
}

// isNil finds the nil pointers that satisfy Op, too: methods with value
// receivers would panic on them.
func isNil(op Op) bool {
	switch op := op.(type) {
	case nil:
		return true
	case *PutRequest:
		return op == nil
	case *GetRequest:
		return op == nil
	case *DeleteRequest:
		return op == nil
	case *TxnRequest:
		return op == nil
	}
	return false
}

func (r PutRequest) wireOp() (requestOp, error) {
	w, err := r.wire()
	return requestOp{Put: &w}, err
}

func (r GetRequest) wireOp() (requestOp, error) {
	w, err := r.wire()
	return requestOp{Range: &w}, err
}

func (r DeleteRequest) wireOp() (requestOp, error) {
	w, err := r.wire()
	return requestOp{DeleteRange: &w}, err
}

func (r TxnRequest) wireOp() (requestOp, error) {
	if r.Serializable {
		return requestOp{}, errors.New("Serializable is set; it goes on the outermost transaction only")
	}
	w, err := r.wire()
	return requestOp{Txn: &w}, err
}

func (c Compare) wire() (compare, error) {
	w := compare{
		Target: c.Target, Result: c.Result, Version: c.Version, CreateRevision: c.CreateRevision,
		ModRevision: c.ModRevision, Value: c.Value, Lease: c.Lease,
	}
	if c.Key == "" && !c.Prefix && !c.FromKey && c.Target == TargetModRevision && c.ModRevision == 0 {
		return w, errors.New("Key is empty; for Unchanged of a key that was not found use Missing")
	}
	var err error
	if w.Key, w.RangeEnd, err = interval(c.Key, c.Prefix, c.FromKey, c.RangeEnd); err != nil {
		return w, err
	}
	if c.Target < TargetVersion || c.Target > TargetLease {
		return w, fmt.Errorf("Target is %d; use one of the Target constants", c.Target)
	}
	if c.Result < Equal || c.Result > NotEqual {
		return w, fmt.Errorf("Result is %d; use Equal, NotEqual, Less or Greater", c.Result)
	}
	return w, c.checkOperands()
}

// checkOperands refuses a value that Target does not look at: most likely
// Target is wrong, and the condition would be quite another one.
func (c Compare) checkOperands() error {
	for _, f := range [...]struct {
		target CompareTarget
		set    bool
		field  string
	}{
		{TargetVersion, c.Version != 0, "Version"},
		{TargetCreateRevision, c.CreateRevision != 0, "CreateRevision"},
		{TargetModRevision, c.ModRevision != 0, "ModRevision"},
		{TargetValue, len(c.Value) > 0, "Value"},
		{TargetLease, c.Lease != 0, "Lease"},
	} {
		if f.set && f.target != c.Target {
			return fmt.Errorf("%s is set, but Target compares something else", f.field)
		}
	}
	return nil
}

// ops is how many operations etcd counts in it, without those of nested transactions.
func (w *txnRequest) ops() int { return max(len(w.Compare), len(w.Success), len(w.Failure)) }

// readOnly: no branch writes. A nested transaction counts as a write, as it
// does for etcd, which takes it through raft.
func (w *txnRequest) readOnly() bool {
	for _, ops := range [...][]requestOp{w.Success, w.Failure} {
		for i := range ops {
			if ops[i].Range == nil {
				return false
			}
		}
	}
	return true
}

func (w *txnRequest) makeSerializable() {
	for _, ops := range [...][]requestOp{w.Success, w.Failure} {
		for i := range ops {
			ops[i].Range.Serializable = true
		}
	}
}

// makeLinearizable has etcd ask the leader before it evaluates the transaction. It does
// so when any operation is a linearizable range, in either branch; a transaction
// without one it answers from local state, compares included. So the first range is
// made one, and where there is none the count of a compared key is added to the Else
// branch, which the caller must take out again. A user that may compare a key may read
// it, so this needs no further permission.
func (w *txnRequest) makeLinearizable() (added bool) {
	for _, ops := range [...][]requestOp{w.Success, w.Failure} {
		if len(ops) > 0 {
			ops[0].Range.Serializable = false
			return false
		}
	}
	if len(w.Compare) == 0 {
		return false
	}
	w.Failure = []requestOp{{Range: &rangeRequest{Key: w.Compare[0].Key, CountOnly: true}}}
	return true
}
