// Package queue is a work queue: producers add items, workers in any number of processes take
// them, and an item whose worker dies is taken by another one.
//
//	q, err := queue.New(co, queue.Config{Name: "mail", MaxAttempts: 5})
//	if err != nil {
//		return err
//	}
//	defer q.Close(ctx)
//
//	err = q.Add(ctx, queue.Item{ID: "order-7", Value: order})
//
//	for cl, err := range q.All(ctx) {
//		if err != nil {
//			return err
//		}
//		if err := send(cl.Context(), cl.Item.Value); err != nil {
//			cl.Nack(ctx, time.Minute) // again in a minute
//			continue
//		}
//		cl.Ack(ctx, etcd.PutRequest{Key: "sent/" + cl.Item.ID})
//	}
//
// # What is done once
//
// A worker may die after its work and before [Claim.Ack]; the item is then taken again. So
// what a worker does elsewhere is done at least once. The operations that are given to Ack
// are applied exactly once: in the same transaction that removes the item, and only if the
// claim still lives. A worker that was suspended for longer than its lease lives applies
// nothing. Elsewhere, [Claim.Token] tells the claims of an item apart: later ones have
// larger tokens.
//
// # Order
//
// Items are taken by priority, then by the time at which they were added or due, by the clock
// of who added them. An item that is given back without delay keeps its place. With [Strict]
// order every worker takes the first free item that its process knows of; what another
// process has just added or taken arrives some milliseconds later. With [Relaxed] order the
// processes choose among the first few.
//
// # Keys
//
// All keys are below the name and "/". The value of an item is in v/<id>, its place and
// attempts in i/<priority>/<since>/<id>, or t/<due>/<priority>/<id> while it is delayed, its claim in
// c/<id>, on the lease of the coordinator's session, and x/<id> makes it a dead letter. With
// authentication, the user needs read and write permission below the name, and for the
// coordinator's own keys.
//
// # Costs
//
// An item takes three requests: Add, the claim, and Ack. Each puts or deletes two or three
// keys. With a name and an ID of 4 bytes and a value of 10 they are messages of 250, 188 and 274
// bytes, and take 970 bytes of etcd's log together. Nack is one more, and so is a claim that another process was faster with. A process
// that takes follows all items but their values: one watch, which brings five changes of small
// keys for each item. The values go to those who claim them.
//
// # Limits
//
// A queue is for tens of thousands of items at a time: each process that takes keeps all of
// them in memory, but for their values, and reads them when it begins. etcd accepts 128 operations per Txn
// (--max-txn-ops), and Ack needs some of these for itself. Values are limited by the largest
// request (--max-request-bytes, 1.5 MiB).
//
// A process sees delayed items when their time has come by its own clock.
package queue
