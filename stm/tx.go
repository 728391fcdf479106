package stm

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
)

// Tx is a transaction under way: one state of the store, and the writes that the
// function has made on top of it. It is for one goroutine, and of no use after the
// function has returned.
//
// After a method has failed, all others fail with the same error.
type Tx struct {
	ctx    context.Context // of Run, for the reads
	client *etcd.Client
	writer *idempotent.Writer // nil without Config.Writer

	// known is the state at one revision as far as it was read, by this attempt or,
	// with the answer to a conflict, before it.
	known *snapshot
	// keys and prefixes are what this attempt has read of it. None of them is below
	// another of the prefixes.
	keys, prefixes []string

	crowd   *crowd // nil: the transaction runs alone
	batch   *batch // that the transaction has joined; see crowd.go
	ahead   bool   // its state was that of a batch, and may be from before the call of Run
	alone   bool   // it does not join one
	hasTurn bool

	writes map[string]*write
	order  []string // keys of writes, first written first

	revision int64 // that of the Result
	err      error // of the first method that failed
}

// write is the last thing that a transaction did to a key.
type write struct {
	put     etcd.PutRequest
	deleted bool
}

func newTx(ctx context.Context, c *etcd.Client, known *snapshot) *Tx {
	return &Tx{ctx: ctx, client: c, known: known, writes: make(map[string]*write)}
}

// Get reads a key, as this transaction has left it. found reports whether it exists; a
// zero KeyValue is returned when it does not. A key that this transaction has put, or another
// one that is applied together with it (see Config.Alone), has its value and lease, and zero
// revisions and version.
//
// kv.Value must not be changed.
func (tx *Tx) Get(key string) (kv etcd.KeyValue, found bool, err error) {
	switch {
	case tx.err != nil:
		return etcd.KeyValue{}, false, tx.err
	case key == "":
		return etcd.KeyValue{}, false, tx.fail(invalid("Get", "the key is empty"))
	}
	if w := tx.writes[key]; w != nil {
		kv, found = w.result()
		return kv, found, nil
	}
	if tx.mayJoin() && tx.crowd.isHot(key) {
		tx.alone = !tx.crowd.join(tx.ctx, tx)
	}
	if !tx.covers(key) && !slices.Contains(tx.keys, key) {
		tx.keys = append(tx.keys, key)
	}
	if kv, found := tx.pending(key); found {
		return kv, true, nil
	}
	kv, known := tx.known.key(key)
	if !known {
		resp, err := tx.read(etcd.GetRequest{Key: key})
		if err != nil {
			return etcd.KeyValue{}, false, err
		}
		kv = tx.known.addKey(key, resp)
	}
	return kv, kv.ModRevision != 0, nil
}

// Range reads all keys that begin with prefix, in order, as this transaction has left
// them; see Get. The empty prefix means all keys. Each key takes a compare, so a range
// of more than 127 keys cannot commit on a server with the usual limit, unless the
// transaction only reads.
//
// The slice is the caller's, the values must not be changed.
func (tx *Tx) Range(prefix string) ([]etcd.KeyValue, error) {
	switch {
	case tx.err != nil:
		return nil, tx.err
	case !tx.part():
		return nil, tx.fail(errAlone)
	}
	if !tx.covers(prefix) {
		below := func(key string) bool { return strings.HasPrefix(key, prefix) }
		tx.keys, tx.prefixes = slices.DeleteFunc(tx.keys, below), slices.DeleteFunc(tx.prefixes, below)
		tx.prefixes = append(tx.prefixes, prefix)
	}
	kvs, known := tx.known.keysBelow(prefix)
	if !known {
		resp, err := tx.read(etcd.GetRequest{Key: prefix, Prefix: true})
		if err != nil {
			return nil, err
		}
		kvs = tx.known.addRange(prefix, resp)
	}
	return tx.overlay(prefix, kvs), nil
}

// Put writes a key when the transaction commits. The fields PrevKV and IgnoreValue of
// the request must not be set: Get tells the previous value. Value is copied.
func (tx *Tx) Put(req etcd.PutRequest) error {
	switch {
	case tx.err != nil:
		return tx.err
	case req.Key == "":
		return tx.fail(invalid("Put", "Key is empty"))
	case req.PrevKV:
		return tx.fail(invalid("Put", "PrevKV is set; Get returns the value before the Put"))
	case req.IgnoreValue:
		return tx.fail(invalid("Put", "IgnoreValue is set; put the value that Get returns"))
	case req.IgnoreLease && req.Lease != 0:
		return tx.fail(invalid("Put", "Lease and IgnoreLease are set; use one of them"))
	case (req.Lease != 0 || tx.isBlind(req.Key)) && !tx.part():
		return tx.fail(errAlone)
	}
	req.Value = bytes.Clone(req.Value)
	tx.write(req.Key, &write{put: req})
	return nil
}

// Delete deletes a key when the transaction commits. It does no harm to delete a key
// that does not exist.
func (tx *Tx) Delete(key string) error {
	switch {
	case tx.err != nil:
		return tx.err
	case key == "":
		return tx.fail(invalid("Delete", "the key is empty"))
	case !tx.part():
		return tx.fail(errAlone)
	}
	tx.write(key, &write{put: etcd.PutRequest{Key: key}, deleted: true})
	return nil
}

// mayJoin reports whether the transaction has read nothing yet, so that it can take part in a
// batch.
func (tx *Tx) mayJoin() bool {
	return tx.crowd != nil && !tx.alone && tx.batch == nil && len(tx.keys)+len(tx.prefixes) == 0
}

// isBlind reports whether a put of the key would hide that of an earlier transaction of the
// batch, without having read it.
func (tx *Tx) isBlind(key string) bool {
	return tx.batch != nil && tx.batch.writes[key] != nil && !slices.Contains(tx.keys, key)
}

// part leaves the batch, which cannot carry what the transaction is about to do. It returns
// false when the transaction must run again: it has seen what others of the batch have put, or
// a state that only the batch would have compared. Without that, one that ends without writes
// would return what it has read, which may be older than the call of Run.
func (tx *Tx) part() bool {
	switch {
	case tx.batch == nil:
		return true
	case tx.ahead:
		return false
	case slices.ContainsFunc(tx.keys, func(key string) bool { return tx.batch.writes[key] != nil }):
		return false
	}
	tx.crowd.sendOpen()
	tx.batch = nil // and the turn is kept
	return true
}

// pending is the key as an earlier transaction of the batch leaves it.
func (tx *Tx) pending(key string) (kv etcd.KeyValue, found bool) {
	if tx.batch == nil || tx.batch.writes[key] == nil {
		return etcd.KeyValue{}, false
	}
	kv, _ = tx.batch.writes[key].result()
	if tx.batch.writes[key].put.IgnoreLease {
		kv.Lease = tx.known.keys[key].Lease
	}
	return kv, true
}

func (tx *Tx) write(key string, w *write) {
	if tx.writes[key] == nil {
		tx.order = append(tx.order, key)
	}
	tx.writes[key] = w
}

func (tx *Tx) fail(err error) error {
	tx.err = err
	return err
}

// read asks the server for the state that the transaction sees. The first read decides
// which that is.
func (tx *Tx) read(req etcd.GetRequest) (*etcd.GetResponse, error) {
	req.Revision = tx.known.revision
	resp, err := tx.client.Get(tx.ctx, req)
	if err != nil {
		return nil, tx.fail(err)
	}
	if tx.known.revision == 0 {
		tx.known.revision = resp.Header.Revision
	}
	return resp, nil
}

// covers reports whether a range that this attempt has read contains the key, or all
// keys below a prefix.
func (tx *Tx) covers(key string) bool {
	return slices.ContainsFunc(tx.prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// overlay returns kvs, the keys below prefix, with the writes of the transaction applied.
func (tx *Tx) overlay(prefix string, kvs []etcd.KeyValue) []etcd.KeyValue {
	var out []etcd.KeyValue
	for _, kv := range kvs {
		if tx.writes[kv.Key] == nil {
			out = append(out, kv)
		}
	}
	read := len(out)
	for key, w := range tx.writes {
		if kv, found := w.result(); found && strings.HasPrefix(key, prefix) {
			out = append(out, kv)
		}
	}
	if len(out) > read {
		slices.SortFunc(out, func(a, b etcd.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	}
	return out
}

// result is the key as the write leaves it.
func (w *write) result() (kv etcd.KeyValue, found bool) {
	if w.deleted {
		return etcd.KeyValue{}, false
	}
	return etcd.KeyValue{Key: w.put.Key, Value: w.put.Value, Lease: w.put.Lease}, true
}

func (w *write) op() etcd.Op {
	if w.deleted {
		return etcd.DeleteRequest{Key: w.put.Key}
	}
	return w.put
}
