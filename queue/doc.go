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
// work outside etcd is done at least once. The operations that Ack is given
// are applied exactly once: in the same transaction that removes the item, and only if the
// claim still lives. A worker that was suspended for longer than the TTL applies
// nothing. Other systems can use [Claim.Token] to distinguish the claims of an item: later claims
// have larger tokens.
//
// # Order
//
// Items are taken by priority, then by the time at which they were added or due, by the producer's
// clock. An item that is given back without delay keeps its place. With [Strict]
// order every worker takes the first free item that its process knows of; it learns of items that
// another process has added or taken some milliseconds later. With [Relaxed] order the
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
// bytes, and take 970 bytes of etcd's log in total. Nack is one more request, and so is a claim that
// another process wins. A process with workers follows all items without their values: one watch,
// which brings five changes of small keys for each item. A worker gets the value with its claim.
//
// # Limits
//
// A queue is for tens of thousands of items at a time: each process with workers keeps all of
// them in memory, without their values, and reads them when it starts. etcd accepts 128 operations
// per Txn (--max-txn-ops), and Ack needs some of these itself. Values are limited by the largest
// request (--max-request-bytes, 1.5 MiB).
//
// A process sees a delayed item once it is due by the process's own clock.
package queue
