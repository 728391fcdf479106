package concurrency_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/exampleclient"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	c   = exampleclient.New()
	co  = exampleclient.Coordinator(c)
)

// One Coordinator serves a whole program.
func ExampleNew() {
	co, err := concurrency.New(c, concurrency.Config{TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	l, err := co.Mutex("jobs/42", concurrency.MutexConfig{}).Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("locked:", l.Context().Err() == nil)

	// At the end of the program all of its locks are free at once.
	if err := co.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("lost:", errors.Is(context.Cause(l.Context()), concurrency.ErrLockLost))
	// Output:
	// locked: true
	// lost: true
}

// A key that lives as long as this program does, on the lease that its locks use.
func ExampleCoordinator_Session() {
	s, err := co.Session(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Put(ctx, etcd.PutRequest{Key: "services/api/10.0.0.1:8080", Lease: s.Lease().ID})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("lives for", s.Lease().TTL)
	// Output: lives for 15s
}

// A write that is refused once the session has ended, however late it arrives.
func ExampleSession_Guard() {
	s, err := co.Session(ctx)
	if err != nil {
		log.Fatal(err)
	}
	alive, err := s.Guard(ctx)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{alive},
		Then: []etcd.Op{etcd.PutRequest{Key: "progress", Value: []byte("90 %")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("written:", resp.Succeeded)
	// Output: written: true
}

// Work that ends when the lock is lost, and writes that etcd refuses once it is.
func ExampleMutex_Lock() {
	l, err := co.Mutex("accounts/ann", concurrency.MutexConfig{}).Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Unlock(ctx)

	compute := func(ctx context.Context) []byte { return []byte("100") }
	balance := compute(l.Context())
	_, err = l.Txn(ctx, etcd.TxnRequest{
		Then: []etcd.Op{etcd.PutRequest{Key: "balance/ann", Value: balance}},
	})
	if errors.Is(err, concurrency.ErrLockLost) {
		log.Fatal("somebody else has the lock; nothing was written")
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("written: %s\n", balance)
	// Output: written: 100
}

// A lock that one process takes again and again: its key stays from one holding to the next,
// unless somebody else asks for it.
func ExampleMutexConfig() {
	m := co.Mutex("accounts/bob", concurrency.MutexConfig{Linger: time.Second})
	booked := 0
	for range 1000 {
		err := m.Do(ctx, func(ctx context.Context, l *concurrency.Lock) error {
			booked++
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(booked, "booked")
	// Output: 1000 booked
}

// The second one does something else.
func ExampleMutex_TryLock() {
	backup := co.Mutex("backup", concurrency.MutexConfig{Value: []byte("host-1")})
	l, err := backup.TryLock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Unlock(ctx)

	_, err = backup.TryLock(ctx)
	var locked *concurrency.LockedError
	if errors.As(err, &locked) {
		fmt.Printf("%s is at it\n", locked.Holder.Value)
	}
	// Output: host-1 is at it
}

func ExampleMutex_Do() {
	err := co.Mutex("reports", concurrency.MutexConfig{}).Do(ctx, func(ctx context.Context, l *concurrency.Lock) error {
		fmt.Println("writing the report") // ctx ends when the lock is lost
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: writing the report
}

// A resource that knows fencing tokens refuses those below the highest it has seen.
func ExampleLock_Token() {
	m := co.Mutex("disk", concurrency.MutexConfig{})
	var tokens []int64
	for range 2 {
		l, err := m.Lock(ctx)
		if err != nil {
			log.Fatal(err)
		}
		tokens = append(tokens, l.Token())
		if err := l.Unlock(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("growing:", tokens[0] < tokens[1])
	// Output: growing: true
}

func ExampleRWMutex() {
	table := co.RWMutex("tables/users")
	one, err := table.RLock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	two, err := table.RLock(ctx) // beside it
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("two read")
	_ = one.Unlock(ctx)
	_ = two.Unlock(ctx)

	writer, err := table.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer writer.Unlock(ctx)
	fmt.Println("one writes")
	// Output:
	// two read
	// one writes
}

// At most four units are in use, in all programs together.
func ExampleSemaphore() {
	gpus := co.Semaphore("gpus", 4)
	l, err := gpus.Acquire(ctx, 3)
	if err != nil {
		log.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := gpus.Acquire(short, 2); errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("not enough are free")
	}
	if err := l.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	l, err = gpus.Acquire(ctx, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Unlock(ctx)
	fmt.Println("two are ours")
	// Output:
	// not enough are free
	// two are ours
}

// A job that exactly one instance of a program runs.
func ExampleElection_Run() {
	e := co.Election("scheduler", concurrency.ElectionConfig{Value: []byte("10.0.0.1:80")})
	err := e.Run(ctx, func(ctx context.Context, ld *concurrency.Leadership) error {
		st, err := e.Leader(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%s leads\n", st.Value)
		return nil // a real job goes on until ctx ends
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 10.0.0.1:80 leads
}

func ExampleLeadership_Proclaim() {
	e := co.Election("primary", concurrency.ElectionConfig{Value: []byte("starting")})
	ld, err := e.Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := ld.Proclaim(ctx, []byte("ready")); err != nil {
		log.Fatal(err)
	}
	st, err := e.Leader(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", st.Value)
	if err := ld.Resign(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: ready
}

// A migration that is applied exactly once, whichever instance gets to it.
func ExampleCoordinator_Once() {
	migrate := func(context.Context) (value []byte, ops []etcd.Op, err error) {
		fmt.Println("migrating")
		return []byte("done by host-1"), []etcd.Op{etcd.PutRequest{Key: "schema", Value: []byte("7")}}, nil
	}
	for range 2 {
		value, err := co.Once(ctx, "migrate-7", migrate)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", value)
	}
	// Output:
	// migrating
	// done by host-1
	// done by host-1
}

func ExampleBarrier() {
	maintenance := co.Barrier("maintenance", concurrency.BarrierConfig{})
	if err := maintenance.Hold(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("held")

	waited := make(chan error)
	go func() { waited <- maintenance.Wait(ctx) }()
	if err := maintenance.Release(ctx); err != nil {
		log.Fatal(err)
	}
	if err := <-waited; err != nil {
		log.Fatal(err)
	}
	fmt.Println("released")
	// Output:
	// held
	// released
}

// Two workers begin a step together and end it together.
func ExampleDoubleBarrier() {
	step := co.DoubleBarrier("step", 2)
	done := make(chan error)
	for range 2 {
		go func() {
			r, err := step.Enter(ctx)
			if err == nil {
				err = r.Leave(ctx)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("both are through")
	// Output: both are through
}

// What follows the leader: clients that send their requests to it, for example.
func ExampleElection_Observe() {
	e := co.Election("writer", concurrency.ElectionConfig{Value: []byte("10.0.0.1:80")})
	for st, err := range e.Observe(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if st.Present {
			fmt.Printf("%s leads\n", st.Value)
			break
		}
		fmt.Println("nobody leads")
		if _, err := e.Campaign(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// nobody leads
	// 10.0.0.1:80 leads
}
