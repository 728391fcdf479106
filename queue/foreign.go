package queue

import (
	"fmt"
	"strings"

	"silly.store/etcd"
)

// kinds are what the keys of a queue begin with, after its name.
var kinds = []string{claimed, ready, delayed, values, dead, lanes + "/"}

// foreign is nil if no operation of an Ack changes a key of the queue.
func (q *Queue) foreign(ops []etcd.Op) error {
	for _, op := range ops {
		switch op := op.(type) {
		case etcd.PutRequest:
			if q.has(op.Key, false, false, "") {
				return q.refused(fmt.Sprintf("puts %q", op.Key))
			}
		case etcd.DeleteRequest:
			if op.All || q.has(op.Key, op.Prefix, op.FromKey, op.RangeEnd) {
				return q.refused(fmt.Sprintf("deletes %q or a range that begins there", op.Key))
			}
		case etcd.TxnRequest:
			for _, branch := range [][]etcd.Op{op.Then, op.Else} {
				if err := q.foreign(branch); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (q *Queue) refused(what string) error {
	return invalid("%q: an operation of Ack %s, a key of the queue; Ack itself removes the item", q.config.Name, what)
}

// has reports whether a key or a range contains a key that the queue may have.
func (q *Queue) has(key string, prefix, fromKey bool, end string) bool {
	for _, kind := range kinds {
		kind = q.root + kind
		switch {
		case strings.HasPrefix(key, kind), prefix && strings.HasPrefix(kind, key):
			return true
		case (fromKey || end == "\x00" || kind < end) && key < kind:
			return true
		}
	}
	return false
}
