package etcd

import "strings"

// Namespace returns a view of the client in which every key begins with prefix, on the
// same connections. Give it to one tenant, one environment or one component: what it
// reads, writes, compares and watches are the keys behind prefix, without it, and none
// of its requests names a key elsewhere. Everything that takes a *Client runs inside
// unchanged: locks, caches, transactions by function. Views nest.
//
// Requests for all keys, and those to the last key, end where prefix does. The key that
// is prefix itself is not in the view, in which it would be the empty key. prefix may
// hold any bytes; end it with a separator, or "tenant-1" also holds the keys of
// "tenant-10". A view of "" has all keys.
//
// Only keys are confined. Leases, revisions, [Client.Compact], the methods for users,
// members and maintenance, [Client.Snapshot], [Client.Stats] and the endpoints are those
// of the cluster and of the client; [Client.TTL] leaves out the keys elsewhere that are on
// the lease. A view keeps requests apart; it is not for security: only etcd's own users
// and roles keep a program out, and their permissions name whole keys.
//
// A view costs nothing to keep. Its Close does nothing: it ends with the client. It may be
// used concurrently.
func (c *Client) Namespace(prefix string) *Client {
	whole := c.space.prefix + prefix
	return &Client{core: c.core, space: space{prefix: whole, end: prefixEnd(whole)}, view: true}
}

// Prefix returns what the server's keys have before those of the client: the prefixes of the
// [Client.Namespace] that it is, of all views around it too, and "" of a client that is no
// view. The permissions of users name keys with it.
func (c *Client) Prefix() string { return c.space.prefix }

// space is the part of the keys that a client sees. Requests enter it on their way to the
// server and responses leave it. Requests are validated before, as their user wrote them,
// so that errors name keys as the user does, and "" never becomes the key that is prefix.
type space struct {
	prefix string
	end    string // the range_end behind the last key of it
}

// everywhere is the space of a client that is no view.
var everywhere = space{end: endOfKeys}

// rangeEnd maps a range_end. The first key is mapped by the encoders, which write the
// message's space before it, so that a single key costs no memory. A range of all keys
// begins at "\x00" and so behind the key that is prefix.
func (s *space) rangeEnd(end string) string {
	switch end {
	case "": // a single key
		return ""
	case endOfKeys:
		return s.end
	}
	return s.prefix + end
}

func (w *putRequest) enter(s *space) { w.space = s.prefix }

func (w *rangeRequest) enter(s *space) {
	w.space, w.RangeEnd = s.prefix, s.rangeEnd(w.RangeEnd)
}

func (w *deleteRangeRequest) enter(s *space) {
	w.space, w.RangeEnd = s.prefix, s.rangeEnd(w.RangeEnd)
}

func (w *watchCreateRequest) enter(s *space) {
	w.space, w.RangeEnd = s.prefix, s.rangeEnd(w.RangeEnd)
}

// key is the first key, as the server knows it.
func (w *watchCreateRequest) key() string { return w.space + w.Key }

func (w *txnRequest) enter(s *space) {
	if s.prefix == "" {
		return
	}
	for i := range w.Compare {
		w.Compare[i].space, w.Compare[i].RangeEnd = s.prefix, s.rangeEnd(w.Compare[i].RangeEnd)
	}
	for _, ops := range [...][]requestOp{w.Success, w.Failure} {
		for i := range ops {
			ops[i].enter(s)
		}
	}
}

func (op *requestOp) enter(s *space) {
	switch {
	case op.Range != nil:
		op.Range.enter(s)
	case op.Put != nil:
		op.Put.enter(s)
	case op.DeleteRange != nil:
		op.DeleteRange.enter(s)
	case op.Txn != nil:
		op.Txn.enter(s)
	}
}

// strip takes the prefix off the keys of pairs.
func strip(kvs []KeyValue, prefix string) {
	if prefix == "" {
		return
	}
	for i := range kvs {
		stripOne(&kvs[i], prefix)
	}
}

// stripOne is strip for a pair that need not be there.
func stripOne(kv *KeyValue, prefix string) {
	if kv != nil {
		kv.Key = strings.TrimPrefix(kv.Key, prefix)
	}
}

// stripEvents is strip for the pairs of events.
func stripEvents(events []Event, prefix string) {
	if prefix == "" {
		return
	}
	for i := range events {
		stripOne(&events[i].KV, prefix)
		stripOne(events[i].PrevKV, prefix)
	}
}

// inside keeps the keys that are in the space, without the prefix.
func (s *space) inside(keys []string) []string {
	if s.prefix == "" {
		return keys
	}
	kept := keys[:0]
	for _, key := range keys {
		if rest, ok := strings.CutPrefix(key, s.prefix); ok && rest != "" {
			kept = append(kept, rest)
		}
	}
	return kept
}

func (r *PutResponse) leave(s *space)    { stripOne(r.PrevKV, s.prefix) }
func (r *GetResponse) leave(s *space)    { strip(r.KVs, s.prefix) }
func (r *DeleteResponse) leave(s *space) { strip(r.PrevKVs, s.prefix) }

func (r *TxnResponse) leave(s *space) {
	if s.prefix == "" {
		return
	}
	for i := range r.Responses {
		switch op := &r.Responses[i]; {
		case op.Get != nil:
			op.Get.leave(s)
		case op.Put != nil:
			op.Put.leave(s)
		case op.Delete != nil:
			op.Delete.leave(s)
		case op.Txn != nil:
			op.Txn.leave(s)
		}
	}
}
