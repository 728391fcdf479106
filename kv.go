package etcd

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/wire"
)

// PutRequest is the argument of [Client.Put], and an [Op] of a transaction.
type PutRequest struct {
	// Key is required. It may hold any bytes.
	Key string
	// Value is copied before Put returns; nil stores an empty value.
	Value []byte
	// Lease attaches the key to a lease: the key is deleted when this lease ends. 0
	// means none, and detaches the key from its former lease.
	Lease LeaseID
	// PrevKV asks for the pair as it was before.
	PrevKV bool
	// IgnoreValue keeps the key's value and raises its version; Value must then
	// be empty and the key must exist.
	IgnoreValue bool
	// IgnoreLease keeps the key on its lease; Lease must then be 0 and the key must
	// exist.
	IgnoreLease bool
}

// GetRequest is the argument of [Client.Get] and [Client.Range], and an [Op] of a
// transaction.
//
// Key alone reads one key. At most one of Prefix, FromKey and RangeEnd widens
// that to a range.
type GetRequest struct {
	// Key is required unless Prefix or FromKey is set; empty with one of these
	// means all keys.
	Key string
	// Prefix reads all keys that begin with Key.
	Prefix bool
	// FromKey reads all keys that are not less than Key.
	FromKey bool
	// RangeEnd reads the keys from Key up to, but not including, RangeEnd. There
	// are none when RangeEnd is not above Key, but "\x00" is etcd's way to say to the last
	// key, as FromKey does.
	RangeEnd string

	// Limit is the largest number of pairs to return; 0 means all.
	Limit int64
	// Revision reads the store as it was at that revision; 0 means now.
	Revision int64
	// SortOrder orders the result. SortNone means ascending by key, or
	// ascending by SortTarget where that is set.
	SortOrder SortOrder
	// SortTarget is the field that SortOrder compares; the zero value is the key.
	SortTarget SortTarget
	// Serializable lets the member answer from its local state, without asking the
	// leader: faster, and possibly behind.
	Serializable bool
	// KeysOnly leaves the values out. etcd 3.7 leaves the leases out as well, unless
	// SortTarget is SortByValue: Lease is then 0 of every key.
	KeysOnly bool
	// CountOnly returns Count and no pairs.
	CountOnly bool

	// The four filters drop pairs outside of them from the result, after the
	// range has been read, so they make nothing cheaper and Count ignores them.
	// 0 means no bound.

	MinModRevision    int64
	MaxModRevision    int64
	MinCreateRevision int64
	MaxCreateRevision int64
}

// DeleteRequest is the argument of [Client.Delete], and an [Op] of a transaction.
//
// Key alone deletes one key. At most one of Prefix, FromKey and RangeEnd widens
// that to a range.
type DeleteRequest struct {
	// Key is required unless All is set.
	Key string
	// Prefix deletes all keys that begin with Key.
	Prefix bool
	// FromKey deletes all keys that are not less than Key.
	FromKey bool
	// RangeEnd deletes the keys from Key up to, but not including, RangeEnd. There
	// are none when RangeEnd is not above Key, but "\x00" is etcd's way to say to the last
	// key, as FromKey does.
	RangeEnd string
	// All deletes every key of the store; Key must be empty then. Without it a Prefix
	// or FromKey of "" is refused, as is "\x00" to the last key: the key may be a variable
	// that was never set.
	All bool
	// PrevKV asks for the deleted pairs.
	PrevKV bool
}

// CompactRequest is the argument of [Client.Compact].
type CompactRequest struct {
	// Revision is the oldest revision that can be read afterwards. Required;
	// at most the current revision.
	Revision int64
	// Physical waits until the old revisions are removed from the database, and not
	// only hidden. The file shrinks only on defragmentation.
	Physical bool
}

// Put stores a value under a key, creating the key or raising its version.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound, ErrKeyNotFound (with IgnoreValue or
// IgnoreLease), ErrRequestTooLarge, ErrNoSpace and those of every call (see [Error]).
// The value may have been stored if [MaybeApplied] says so.
//
// etcd: KV/Put (since 3.0; PrevKV 3.1, IgnoreValue and IgnoreLease 3.2)
func (c *Client) Put(ctx context.Context, req PutRequest) (*PutResponse, error) {
	resp := new(PutResponse)
	wire, err := req.wire()
	wire.enter(&c.space)
	if err := c.doShared(ctx, c.putOperation(&wire), rpc.Put, wire.Key, &wire, err, resp); err != nil {
		return nil, err
	}
	resp.leave(&c.space)
	return resp, nil
}

// Get reads a key or a range of keys. A key that does not exist is no error:
// KVs is then empty. Reads are linearizable unless Serializable is set.
//
// The whole result is held in memory; use [Client.Range] for large ranges.
//
// Errors: ErrInvalidRequest, ErrCompacted, ErrFutureRevision, ErrResponseTooLarge and
// those of every call (see [Error]).
//
// etcd: KV/Range (since 3.0; the revision filters 3.1)
func (c *Client) Get(ctx context.Context, req GetRequest) (*GetResponse, error) {
	wire, err := req.wire()
	wire.enter(&c.space)
	resp := wire.newResponse()
	if err := c.doShared(ctx, getOperation(&wire), getMethod(&wire), wire.Key, &wire, err, resp); err != nil {
		return nil, err
	}
	if len(resp.KVs) == 0 {
		resp.KVs = nil
	}
	resp.leave(&c.space)
	return resp, nil
}

// newResponse makes what the answer is decoded into. That of a single key has room for its
// pair, in the same allocation.
func (w *rangeRequest) newResponse() *GetResponse {
	if w.RangeEnd != "" {
		return new(GetResponse)
	}
	var one struct {
		GetResponse
		pair [1]KeyValue
	}
	one.KVs = one.pair[:0]
	return &one.GetResponse
}

// getMethod is how a range that is not paged is read.
func getMethod(w *rangeRequest) *rpc.Method {
	if w.Serializable {
		return rpc.GetLocal
	}
	return rpc.Get
}

// Delete deletes a key or a range of keys. Deleting what does not exist is no
// error: Deleted is then 0.
//
// Errors: ErrInvalidRequest and those of every call (see [Error]). The keys may have
// been deleted if [MaybeApplied] says so.
//
// etcd: KV/DeleteRange (since 3.0; PrevKV 3.1)
func (c *Client) Delete(ctx context.Context, req DeleteRequest) (*DeleteResponse, error) {
	resp := new(DeleteResponse)
	wire, err := req.wire()
	wire.enter(&c.space)
	if err := c.doShared(ctx, c.deleteOperation(&wire), rpc.Delete, wire.Key, &wire, err, resp); err != nil {
		return nil, err
	}
	resp.leave(&c.space)
	return resp, nil
}

// Compact makes the store forget the history before a revision. Reads and
// watches of older revisions then fail with ErrCompacted; the current pairs
// are not touched. Compacting regularly keeps the database small.
//
// Config.Timeout does not bound a Physical compaction, only ctx does.
//
// Errors: ErrInvalidRequest, ErrCompacted when this revision or a later one has been
// compacted already, ErrFutureRevision, and those of every call (see [Error]). It may
// have been done if [MaybeApplied] says so; asking again then does no harm.
//
// etcd: KV/Compact (since 3.0)
func (c *Client) Compact(ctx context.Context, req CompactRequest) (*CompactResponse, error) {
	resp := new(CompactResponse)
	wire, err := req.wire()
	method := rpc.Compact
	if req.Physical {
		method = rpc.CompactPhysical
	}
	if err := c.do(ctx, method, &wire, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (r PutRequest) wire() (putRequest, error) {
	w := putRequest{
		Key: r.Key, Value: r.Value, Lease: r.Lease, PrevKV: r.PrevKV,
		IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
	}
	switch {
	case r.Key == "":
		return w, errors.New("Key is empty")
	case r.IgnoreValue && len(r.Value) > 0:
		return w, errors.New("IgnoreValue keeps the stored value, but Value is set too")
	case r.IgnoreLease && r.Lease != 0:
		return w, errors.New("IgnoreLease keeps the key's lease, but Lease is set too")
	}
	return w, nil
}

func (r GetRequest) wire() (rangeRequest, error) {
	w := rangeRequest{
		Limit: r.Limit, Revision: r.Revision,
		SortOrder: r.SortOrder, SortTarget: r.SortTarget,
		Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
		MinModRevision: r.MinModRevision, MaxModRevision: r.MaxModRevision,
		MinCreateRevision: r.MinCreateRevision, MaxCreateRevision: r.MaxCreateRevision,
	}
	var err error
	w.Key, w.RangeEnd, err = interval(r.Key, r.Prefix, r.FromKey, r.RangeEnd)
	if err != nil {
		return w, err
	}
	switch {
	case r.Limit < 0:
		return w, fmt.Errorf("Limit is negative: %d", r.Limit)
	case r.Revision < 0:
		return w, fmt.Errorf("Revision is negative: %d", r.Revision)
	case r.SortOrder < SortNone || r.SortOrder > Descend:
		return w, fmt.Errorf("SortOrder is %d; use SortNone, Ascend or Descend", r.SortOrder)
	case r.SortTarget < SortByKey || r.SortTarget > SortByValue:
		return w, fmt.Errorf("SortTarget is %d; use one of the SortBy constants", r.SortTarget)
	case r.KeysOnly && r.CountOnly:
		return w, errors.New("KeysOnly and CountOnly are both set; CountOnly returns no keys")
	}
	if err := checkFilter("ModRevision", r.MinModRevision, r.MaxModRevision); err != nil {
		return w, err
	}
	return w, checkFilter("CreateRevision", r.MinCreateRevision, r.MaxCreateRevision)
}

func checkFilter(field string, low, high int64) error {
	switch {
	case low < 0:
		return fmt.Errorf("Min%s is negative: %d", field, low)
	case high < 0:
		return fmt.Errorf("Max%s is negative: %d", field, high)
	case high > 0 && low > high:
		return fmt.Errorf("Min%s %d is above Max%s %d", field, low, field, high)
	}
	return nil
}

func (r DeleteRequest) wire() (deleteRangeRequest, error) {
	if err := r.checkAll(); err != nil {
		return deleteRangeRequest{}, err
	}
	key, end, err := interval(r.Key, r.Prefix || r.All && !r.FromKey, r.FromKey, r.RangeEnd)
	if err == nil && !r.All && allKeys(key, end) {
		err = errors.New(`Key "\x00" is the first possible key, so every key would be deleted; set All instead if that is meant`)
	}
	return deleteRangeRequest{Key: key, RangeEnd: end, PrevKV: r.PrevKV}, err
}

// checkAll holds All against the fields that name keys.
func (r DeleteRequest) checkAll() error {
	switch {
	case r.All && r.Key != "":
		return errors.New("All deletes every key, but Key is set too")
	case r.All && r.RangeEnd != "":
		return errors.New("All deletes every key, but RangeEnd is set too")
	case r.All || r.Key != "":
		return nil
	case r.Prefix || r.FromKey:
		return errors.New("Key is empty, so every key would be deleted; set All if that is meant")
	}
	return errors.New("Key is empty; set All to delete every key")
}

func (r CompactRequest) wire() (compactionRequest, error) {
	if r.Revision <= 0 {
		return compactionRequest{}, fmt.Errorf("Revision is %d; it must be positive", r.Revision)
	}
	return compactionRequest{Revision: r.Revision, Physical: r.Physical}, nil
}

// largeRange is the size of an answer from which counting its pairs before they are decoded
// costs as much as decoding them: each is a cache miss.
const largeRange = 1 << 20

// reserve makes room for the pairs of a large answer. The server ends it with the number of
// keys in the range. That is how many pairs there are if all have about the size of the
// first one and no limit has cut them; otherwise the decoder counts them.
func (r *GetResponse) reserve(b []byte) {
	if len(b) < largeRange || cap(r.KVs) > 0 {
		return
	}
	if n, size := lastCount(b), firstPair(b); size > 0 && n > 0 && n < len(b) {
		if all := n * size; all > len(b)-len(b)/16 && all < len(b)+len(b)/16 {
			r.KVs = make([]KeyValue, 0, n)
		}
	}
}

// firstPair is how many bytes the first pair of an encoded answer takes; 0 if it does not
// begin with a header and a pair.
func firstPair(b []byte) int {
	if b[0] != 0x0a {
		return 0
	}
	_, i := wire.Bytes(b, 1)
	if i < 0 || i >= len(b) || b[i] != 0x12 {
		return 0
	}
	_, end := wire.Bytes(b, i+1)
	return max(end-i, 0)
}

// lastCount is the count at the end of an encoded answer; 0 if there is none. Bytes of a
// value may look like one, so it may be any number.
func lastCount(b []byte) int {
	const longest = 10
	for i := len(b) - 2; i >= len(b)-1-longest; i-- {
		if b[i] != 0x20 {
			continue
		}
		if n, end := wire.Varint(b, i+1); end == len(b) && n < 1<<31 {
			return int(n)
		}
	}
	return 0
}
