package coalesce

import (
	"errors"
	"fmt"

	"silly.store/etcd/internal/wire"
)

var errNotAnswers = errors.New("a response of the transaction has a different type than its operation")

// splitTxn finds the answers to the operations in the answer to their transaction.
// All of them are in the same field of ResponseOp.
func splitTxn(reply []byte, field int, parts []part) error {
	n := 0
	for i := 0; i < len(reply); {
		tag, next := wire.Varint(reply, i)
		if next < 0 {
			return wire.Error(next)
		}
		if tag != 3<<3|wire.TypeBytes {
			if i = wire.Skip(tag, reply, next); i < 0 {
				return wire.Error(i)
			}
			continue
		}
		op, end := wire.Bytes(reply, next)
		if end < 0 {
			return wire.Error(end)
		}
		if n == len(parts) {
			return fmt.Errorf("the transaction has more responses than its %d operations", len(parts))
		}
		var err error
		if parts[n].answer, err = operationAnswer(op, field); err != nil {
			return err
		}
		n, i = n+1, end
	}
	if n < len(parts) {
		return fmt.Errorf("the transaction has %d responses to %d operations", n, len(parts))
	}
	return nil
}

// operationAnswer returns the answer in a ResponseOp. As in every message, unknown
// fields are skipped, and the last occurrence of a field counts.
func operationAnswer(op []byte, field int) ([]byte, error) {
	var answer []byte
	found := false
	for i := 0; i < len(op); {
		tag, next := wire.Varint(op, i)
		if next < 0 {
			return nil, wire.Error(next)
		}
		if tag == uint64(field)<<3|wire.TypeBytes {
			answer, i = wire.Bytes(op, next)
			found = true
		} else {
			i = wire.Skip(tag, op, next)
		}
		if i < 0 {
			return nil, wire.Error(i)
		}
	}
	if !found {
		return nil, errNotAnswers
	}
	return answer, nil
}
