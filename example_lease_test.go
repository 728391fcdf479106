package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"silly.store/etcd"
)

// The key lives as long as this program does, and ten seconds at most after it.
func ExampleClient_Grant() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Put(ctx, etcd.PutRequest{
		Key: "services/api/10.0.0.1:8080", Value: []byte("up"), Lease: lease.ID,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("granted for", lease.TTL)
	// Output: granted for 10s
}

// A key that is deleted after a minute, come what may.
func ExampleClient_Grant_noKeepAlive() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "code", Value: []byte("4711"), Lease: lease.ID}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("granted for", lease.TTL)
	// Output: granted for 1m0s
}

// What depends on a lease ends with it: as soon as it may be lost, the work is
// cancelled.
func ExampleLease_Context() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	held, cancel := lease.Context(ctx)
	defer cancel()

	work := func(held context.Context) { <-held.Done() }
	if err := lease.Revoke(ctx); err != nil { // or the lease is lost
		log.Fatal(err)
	}
	work(held)
	fmt.Println("stopped by a revocation:", errors.Is(context.Cause(held), etcd.ErrLeaseRevoked))
	// Output: stopped by a revocation: true
}

// A program that is nothing without its lease.
func ExampleLease_Done() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	jobs := make(chan string, 2)
	jobs <- "sweep"
	jobs <- "mop"
	close(jobs)
	for {
		select {
		case job, ok := <-jobs:
			if !ok {
				return
			}
			fmt.Println(job)
		case <-lease.Done():
			log.Fatal(lease.Err())
		}
	}
	// Output:
	// sweep
	// mop
}

// A service that stops takes its key away at once, and does not leave that to
// the TTL.
func ExampleLease_Revoke() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "services/api/10.0.0.1:8080", Lease: lease.ID}); err != nil {
		log.Fatal(err)
	}

	if err := lease.Revoke(ctx); err != nil {
		log.Fatal(err)
	}
	<-lease.Done() // is closed
	fmt.Println("the key is deleted")
	// Output: the key is deleted
}

// A service that is replaced hands its key on: its successor adopts the lease, and
// the key is never away.
func ExampleLease_StopKeepAlive() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 30 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "services/api", Lease: lease.ID}); err != nil {
		log.Fatal(err)
	}

	lease.StopKeepAlive()
	log.Print("the lease to adopt: ", lease.ID)
	fmt.Println("adopt it within", lease.TTL)
	// Output: adopt it within 30s
}

func ExampleLease_Err() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if err := lease.Revoke(ctx); err != nil {
		log.Fatal(err)
	}
	<-lease.Done()
	switch err := lease.Err(); {
	case errors.Is(err, etcd.ErrLeaseRevoked), errors.Is(err, etcd.ErrClosed):
		fmt.Println("this program has ended it")
	case errors.Is(err, etcd.ErrLeaseExpired):
		log.Print("the keys are gone: ", err)
	case errors.Is(err, etcd.ErrLeaseNotRenewed):
		log.Print("the keys are gone or will be: ", err)
	}
	// Output: this program has ended it
}

// Begin only what ends while the lease certainly lives.
func ExampleLease_Deadline() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if time.Until(lease.Deadline()) < 2*time.Second {
		log.Fatal("the lease is not being renewed")
	}
	ctx, cancel := context.WithDeadline(ctx, lease.Deadline())
	defer cancel()
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "progress", Value: []byte("90 %")}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("90 % are done")
	// Output: 90 % are done
}

// End a lease of which only the ID is known. [Lease.Revoke] is for one's own.
func ExampleClient_Revoke() {
	var id etcd.LeaseID = 4711
	_, err := c.Revoke(ctx, etcd.RevokeRequest{ID: id})
	if err != nil && !errors.Is(err, etcd.ErrLeaseNotFound) {
		log.Fatal(err)
	}
	fmt.Println("the lease has ended")
	// Output: the lease has ended
}

func ExampleClient_TTL() {
	var id etcd.LeaseID = 4711
	lease, err := c.TTL(ctx, etcd.TTLRequest{ID: id, Keys: true})
	if errors.Is(err, etcd.ErrLeaseNotFound) {
		fmt.Println("the lease has ended")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Print("left: ", lease.TTL)
	fmt.Printf("granted for %v, keys %q\n", lease.GrantedTTL, lease.Keys)
	// Output: granted for 1h0m0s, keys ["services/web"]
}

func ExampleClient_Leases() {
	list, err := c.Leases(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range list.Leases {
		fmt.Println(id)
	}
	// Output: 1267
}

// A program that was restarted keeps its lease, and so its keys, if it comes back before
// the lease ends.
func ExampleClient_Adopt() {
	var before etcd.LeaseID = 4711 // from where the program keeps it
	lease, err := c.Adopt(ctx, before)
	if errors.Is(err, etcd.ErrLeaseNotFound) {
		lease, err = c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("lease", lease.ID, "lives for", lease.TTL)
	// Output: lease 1267 lives for 1h0m0s
}

// Renew a lease only as long as there is something to renew it for.
func ExampleClient_KeepAliveOnce() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second, NoKeepAlive: true})
	if err != nil {
		log.Fatal(err)
	}
	healthy := func() bool { return false }
	for {
		renewed, err := c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: lease.ID})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("lives for", renewed.TTL)
		if !healthy() {
			return
		}
		time.Sleep(lease.TTL / 3)
	}
	// Output: lives for 10s
}

func ExampleClient_KeepAlive() {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
	if err != nil {
		log.Fatal(err)
	}
	req := etcd.KeepAliveRequest{ID: lease.ID}
	stream, err := c.KeepAlive(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Close()

	if err := stream.Write(ctx, req); err != nil {
		log.Fatal(err)
	}
	renewed, err := stream.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("lives for", renewed.TTL)
	// Output: lives for 1m0s
}
