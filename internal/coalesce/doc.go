// Package coalesce lets concurrent calls for single keys share requests.
//
// A queue (queue.go) decides whether a call is sent at once (alone.go) or waits, and
// run.go sends the queued calls. The window (window.go) limits the requests in flight;
// stall.go finds requests that hang, which no longer count. order.go keeps writes of
// one key in order, and limits.go decides how large requests may be and which keys
// stay out of them.
//
// The calls of one request are a batch (batch.go). sender.go sends it as a transaction,
// and split.go finds each call's part of the answer, of which the call makes a copy;
// memory.go uses the memory of the whole again. call.Progress records what is known about a
// request for callers that give up.
//
// The client's Batch needs no queue: together.go makes its requests.
//
// All that the package knows about the messages is the place of an operation and
// its answer in a transaction.
//
// # Not obvious
//
//   - Calls wait only for other calls, never for time to pass. A queue's window is wide
//     while requests are answered at full speed, so that calls over a slow but idle link go
//     alone, in parallel. It narrows when requests take twice as long as a request that was
//     in flight by itself: then the servers or this process are busy, and fewer requests
//     are less work for both. That base time never grows under load, or the load itself
//     would become the reference.
//   - The goroutine that ran a batch lets the callers that were just answered run before it
//     takes the next one, so that they can join that with their next calls (batch.notify).
//   - A request that hangs does not hold up a queue: if no request has ended for a quarter
//     of a second while calls wait, those in flight no longer count. Otherwise a hung
//     member could occupy the whole window while others serve.
//   - Calls with a deadline and calls without one wait in separate queues, because
//     Config.Timeout bounds the attempts of the latter only. A batch lasts as long as its
//     most patient call and is cancelled when all have left.
//   - A call that leaves its batch early reports what is known at that time
//     (call.Progress): not sent while the batch waits for a connection, unknown once a
//     connection has it. A batch from which a write was withdrawn in this way is not sent;
//     what is left of it is grouped again and sent (queue.regroup).
//   - The calls of a refused batch are sent again, each alone in its caller's goroutine,
//     which shows which one was at fault. Its key stays out of batches for ten seconds. A
//     history reset is not a refusal: it is the answer for all of them. Writes that are
//     sent again still count as in flight.
//   - A transaction of transactions (footprint.go) is applied as if each were alone, because
//     etcd evaluates all compares before it applies anything and none of them writes what
//     another compares, reads or writes. Flat, with the compares of all in one list, one
//     conflict would be that of all.
//   - A read of a given revision may be refused for its revision, which a compaction removes.
//     Then such reads go alone for a while (queue.refusedOld), and the others share on.
//   - A learner accepts no transactions, so serializable reads that it refuses together
//     are sent alone.
//   - Writes of one key are counted while in flight (queue.writing). A second one waits for
//     the answer to the first, because etcd refuses a duplicate key in a transaction, and
//     parallel requests arrive in any order.
//   - Waiters are pooled per Coalescer, because synctest rejects channels of another
//     bubble. A waiter that gave up is not pooled: its batch may still look at it.
package coalesce
