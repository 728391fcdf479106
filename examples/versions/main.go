// Versions reads earlier versions of a document: etcd keeps every version of a key
// until it is compacted.
//
//	go run ./examples/versions
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"silly.store/etcd"
	"silly.store/etcd/examples/internal/example"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Your etcd where ETCD_ENDPOINTS names one, else one inside this program.
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, os.Stdout, e), e.Close()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()

	key := e.Prefix + "document/readme"
	fmt.Fprintln(out, "Creating document versions...")
	for i := range 5 {
		put, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: fmt.Appendf(nil, "Version %d content", i+1)})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  Version %d saved, revision: %d\n", i+1, put.Header.Revision)
	}

	current, err := get(ctx, c, key, 0)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nCurrent version:")
	fmt.Fprintf(out, "  Value: %s\n", current.Value)
	fmt.Fprintf(out, "  Version: %d\n", current.Version)
	fmt.Fprintf(out, "  Mod revision: %d\n", current.ModRevision)
	fmt.Fprintf(out, "  Create revision: %d\n", current.CreateRevision)

	// Revisions count the changes of the whole store, not of the key. The revision
	// just before a version's put still has the version before it.
	old := current
	for range 2 {
		if old, err = get(ctx, c, key, old.ModRevision-1); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nTwo versions ago:")
	fmt.Fprintf(out, "  Value: %s\n", old.Value)
	fmt.Fprintf(out, "  Version: %d\n", old.Version)
	return nil
}

// get reads a key at a revision; 0 means now. The error is etcd.ErrCompacted if the
// revision has been compacted.
func get(ctx context.Context, c *etcd.Client, key string, revision int64) (etcd.KeyValue, error) {
	got, err := c.Get(ctx, etcd.GetRequest{Key: key, Revision: revision})
	if err != nil {
		return etcd.KeyValue{}, err
	}
	kv, ok := got.First()
	if !ok {
		return etcd.KeyValue{}, fmt.Errorf("%s did not exist at revision %d", key, revision)
	}
	return kv, nil
}
