// Quickstart is a tour of what etcd does with keys: put, get, prefixes,
// transactions, history and compaction.
//
//	go run ./examples/quickstart
//
// It runs an etcd of its own inside this program. Set ETCD_ENDPOINTS, a list
// separated by commas, to use yours instead: everything then happens below one
// prefix, which is deleted at the end.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS")); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run finds a server, connects and takes the tour.
func run(ctx context.Context, out io.Writer, endpoints string) (err error) {
	servers := strings.Split(endpoints, ",")
	own := endpoints == ""
	if own {
		server, err := etcdtest.New(etcdtest.Config{})
		if err != nil {
			return err
		}
		defer server.Close()
		servers = server.Endpoints()
		fmt.Fprintf(out, "A real etcd %s runs inside this program, at %s.\n", server.Version(), servers[0])
		fmt.Fprintln(out, "To use yours: ETCD_ENDPOINTS=127.0.0.1:2379 make demo")
	} else {
		fmt.Fprintf(out, "Using your etcd at %s.\n", endpoints)
	}

	// New checks its configuration and connects to nothing yet; Ready waits
	// for a server that answers, or says what is wrong with each.
	c, err := etcd.New(etcd.Config{Endpoints: servers})
	if err != nil {
		return err
	}
	defer c.Close()
	waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(waiting); err != nil {
		return err
	}

	t := &tour{c: c, out: out, prefix: "quickstart-" + rand.Text()[:6] + "/"}
	fmt.Fprintf(out, "All keys are below %s\n", t.prefix)
	if !own {
		defer func() { err = errors.Join(err, t.cleanUp()) }()
	}
	for _, stop := range []func(context.Context) error{t.putAndGet, t.readPrefix, t.transact, t.lookBack} {
		if err := stop(ctx); err != nil {
			return err
		}
	}
	if own {
		return t.compact(ctx)
	}
	t.heading("Compaction")
	fmt.Fprintln(out, "  left out: it would forget the history of all keys of your etcd")
	return nil
}

// tour holds what each stop of the tour uses.
type tour struct {
	c      *etcd.Client
	out    io.Writer
	prefix string

	colors []int64 // the revisions at which color was put
}

// putAndGet stores a value and reads it back.
func (t *tour) putAndGet(ctx context.Context) error {
	t.heading("Put and get")

	put, err := t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("red")})
	if err != nil {
		return err
	}
	t.show("put color = red", "at revision %d of the store", put.Header.Revision)
	t.colors = append(t.colors, put.Header.Revision)

	got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color"})
	if err != nil {
		return err
	}
	for _, kv := range got.KVs {
		t.show("get color", "%s, version %d", kv.Value, kv.Version)
	}

	put, err = t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("green"), PrevKV: true})
	if err != nil {
		return err
	}
	t.show("put color = green", "at revision %d, was %s", put.Header.Revision, put.PrevKV.Value)
	t.colors = append(t.colors, put.Header.Revision)

	// A key that isn't there is no error: there are just no pairs.
	got, err = t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "colour"})
	if err != nil {
		return err
	}
	t.show("get colour", "%d keys", got.Count)
	return nil
}

// readPrefix reads many keys at once, and deletes them at once.
func (t *tour) readPrefix(ctx context.Context) error {
	t.heading("Prefix")

	fruit := t.prefix + "fruit/"
	for name, count := range map[string]string{"apple": "3", "banana": "12", "cherry": "40"} {
		if _, err := t.c.Put(ctx, etcd.PutRequest{Key: fruit + name, Value: []byte(count)}); err != nil {
			return err
		}
	}

	last, err := t.c.Get(ctx, etcd.GetRequest{Key: fruit, Prefix: true, SortOrder: etcd.Descend, Limit: 2})
	if err != nil {
		return err
	}
	t.show("get fruit/*, the last two", "of %d", last.Count)
	for _, kv := range last.KVs {
		t.show("  "+strings.TrimPrefix(kv.Key, t.prefix), "%s", kv.Value)
	}

	// Range reads piece by piece, all pairs as of one revision, so it doesn't
	// matter how many there are.
	r, err := t.c.Range(ctx, etcd.GetRequest{Key: fruit, Prefix: true})
	if err != nil {
		return err
	}
	t.show("range over fruit/*", "as of revision %d", r.Revision())
	for kv, err := range r.All() {
		if err != nil {
			return err
		}
		t.show("  "+strings.TrimPrefix(kv.Key, t.prefix), "%s", kv.Value)
	}

	deleted, err := t.c.Delete(ctx, etcd.DeleteRequest{Key: fruit, Prefix: true})
	if err != nil {
		return err
	}
	t.show("delete fruit/*", "%d keys", deleted.Deleted)
	return nil
}

// transact lets two people take the same lock: only one gets it.
func (t *tour) transact(ctx context.Context) error {
	t.heading("Transaction")

	lock := t.prefix + "lock"
	for _, name := range []string{"alice", "bob"} {
		txn, err := t.c.Txn(ctx, etcd.TxnRequest{
			If:   []etcd.Compare{etcd.CompareVersion(lock, etcd.Equal, 0)}, // it doesn't exist
			Then: []etcd.Op{etcd.PutRequest{Key: lock, Value: []byte(name)}},
			Else: []etcd.Op{etcd.GetRequest{Key: lock}},
		})
		if err != nil {
			return err
		}
		if txn.Succeeded {
			t.show("if lock is free, put "+name, "done")
		} else {
			t.show("if lock is free, put "+name, "no, %s has it", txn.Responses[0].Get.KVs[0].Value)
		}
	}
	return nil
}

// lookBack reads a key as it was before.
func (t *tour) lookBack(ctx context.Context) error {
	t.heading("History")

	put, err := t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("blue")})
	if err != nil {
		return err
	}
	t.colors = append(t.colors, put.Header.Revision)

	for _, revision := range t.colors {
		got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color", Revision: revision})
		if err != nil {
			return err
		}
		t.show(fmt.Sprintf("color at revision %d", revision), "%s", got.KVs[0].Value)
	}
	return nil
}

// compact makes the store forget what lookBack could still read.
func (t *tour) compact(ctx context.Context) error {
	t.heading("Compaction")

	first, last := t.colors[0], t.colors[len(t.colors)-1]
	if _, err := t.c.Compact(ctx, etcd.CompactRequest{Revision: last}); err != nil {
		return err
	}
	t.show(fmt.Sprintf("forget what was before %d", last), "done")

	_, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color", Revision: first})
	if !errors.Is(err, etcd.ErrCompacted) {
		return fmt.Errorf("reading revision %d after the compaction: %v, want ErrCompacted", first, err)
	}
	t.show(fmt.Sprintf("color at revision %d", first), "ErrCompacted: it is gone")

	got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color"})
	if err != nil {
		return err
	}
	t.show("color now", "%s", got.KVs[0].Value)
	return nil
}

// cleanUp deletes the tour's keys, also when the tour was interrupted.
func (t *tour) cleanUp() error {
	deleted, err := t.c.Delete(context.Background(), etcd.DeleteRequest{Key: t.prefix, Prefix: true})
	if err != nil {
		return fmt.Errorf("keys below %s are left over: %w", t.prefix, err)
	}
	fmt.Fprintf(t.out, "\nDeleted the %d keys below %s\n", deleted.Deleted, t.prefix)
	return nil
}

func (t *tour) heading(name string) { fmt.Fprintf(t.out, "\n%s\n", name) }

// show prints what was done and what came of it.
func (t *tour) show(what, format string, args ...any) {
	fmt.Fprintf(t.out, "  %-28s  %s\n", what, fmt.Sprintf(format, args...))
}
