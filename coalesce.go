package etcd

import "silly.store/etcd/internal/coalesce"

// Coalesce says which concurrent calls of a client may share requests. Only calls
// that name a single key do, and serializable Gets only of the current revision.
//
// Calls share a request when as many requests are in flight as the servers answer without
// delay: further calls wait until one of those is answered and travel together, as one
// transaction. A call that finds no request in flight is sent at once, by itself.
type Coalesce uint8

const (
	// CoalesceReads lets Gets share. Only their speed changes: each is answered,
	// refused, retried and given up as if it had been sent alone, and is linearizable
	// or serializable as requested.
	CoalesceReads Coalesce = iota
	// CoalesceAll lets Puts share with Puts, and Deletes with Deletes, too. Those that
	// share are one transaction: they have one revision, so that a watch sees them
	// together, and are applied together or not at all. If the outcome of the
	// transaction is unknown, so is that of each. A refused operation is identified; the
	// others are resent individually.
	//
	// Puts of one key never share. They are sent one after the other in the order in
	// which they were called, unless more than sixteen of them wait. So are Deletes;
	// Puts and Deletes, and calls with a deadline and those without, do not wait for
	// each other.
	CoalesceAll
	// CoalesceOff sends every call alone.
	CoalesceOff
)

var coalesceNames = []string{"reads", "all", "off"}

// String returns "reads", "all" or "off", as [ParseDSN] takes them, or "Coalesce(7)"
// for a value that is none of the constants.
func (c Coalesce) String() string { return choiceName("Coalesce", coalesceNames, uint8(c)) }

// getOperation is the operation by which a Get shares requests; nil: it shares none.
func getOperation(w *rangeRequest) *coalesce.Operation {
	switch {
	case w.RangeEnd != "" || w.Revision != 0 && w.Serializable:
		return nil
	case w.Serializable:
		return coalesce.GetLocal
	case w.Revision != 0:
		return coalesce.GetAt
	}
	return coalesce.Get
}

func (c *Client) putOperation(w *putRequest) *coalesce.Operation {
	if c.coalescer.MayOverflow(w.PrevKV) {
		return nil
	}
	return coalesce.Put
}

func (c *Client) deleteOperation(w *deleteRangeRequest) *coalesce.Operation {
	if w.RangeEnd != "" || c.coalescer.MayOverflow(w.PrevKV) {
		return nil
	}
	return coalesce.Delete
}

// newCoalescer makes what the client's calls share requests by.
func (c *Client) newCoalescer(config *Config) *coalesce.Coalescer {
	return coalesce.New(coalesce.Config{
		Send:      c.engine.Do,
		Batched:   c.observer.batched,
		Reads:     config.Coalesce != CoalesceOff,
		Contexts:  config.Hooks.Call != nil || config.Hooks.Attempt != nil,
		Writes:    config.Coalesce == CoalesceAll,
		MaxAnswer: config.MaxResponseBytes,
		Txns:      config.Coalesce != CoalesceOff && !config.authenticates(),
	})
}
