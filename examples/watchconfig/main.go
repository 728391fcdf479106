// Watchconfig keeps a copy of a configuration that another program changes, even
// during the first read.
//
//	go run ./examples/watchconfig
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

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

	app := e.Prefix + "config/app/"
	for key, value := range map[string]string{"host": "localhost", "port": "8080", "timeout": "10s"} {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: app + key, Value: []byte(value)}); err != nil {
			return err
		}
	}

	cfg, err := load(ctx, c, app)
	if err != nil {
		return err
	}
	cfg.print(out, "Initial config")

	// Changes from now on are not in the list, and the watch has not begun. The
	// watch delivers them too, because it begins right behind the list.
	operator := make(chan error, 1)
	go func() { operator <- operate(ctx, c, app) }()

	for {
		err := cfg.follow(ctx, c, out)
		// What would have to be replayed is no longer there: list it again.
		if etcd.HistoryLost(err) {
			if cfg, err = load(ctx, c, app); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		break
	}
	cfg.print(out, "Final config")
	return <-operator
}

// operate is the other program, which changes the configuration.
func operate(ctx context.Context, c *etcd.Client, app string) error {
	for _, value := range []string{"30s", "60s"} {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: app + "timeout", Value: []byte(value)}); err != nil {
			return err
		}
	}
	_, err := c.Delete(ctx, etcd.DeleteRequest{Key: app + "timeout"})
	return err
}

// config is a copy of the keys below prefix.
type config struct {
	prefix   string
	revision int64 // at which values were listed
	values   map[string]string
}

// load lists the configuration.
func load(ctx context.Context, c *etcd.Client, prefix string) (*config, error) {
	got, err := c.Get(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		return nil, err
	}
	cfg := &config{prefix: prefix, revision: got.Header.Revision, values: make(map[string]string)}
	for _, kv := range got.KVs {
		cfg.values[strings.TrimPrefix(kv.Key, prefix)] = string(kv.Value)
	}
	return cfg, nil
}

// follow applies every change since the list. A real program would do so as long as
// it runs; this one stops once the key timeout is deleted.
func (cfg *config) follow(ctx context.Context, c *etcd.Client, out io.Writer) error {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: cfg.prefix, Prefix: true, Revision: cfg.revision + 1})
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Fprintf(out, "Watching from revision %d on...\n", w.Revision())

	for cfg.values["timeout"] != "" {
		resp, err := w.Read(ctx)
		if err != nil {
			return err
		}
		for _, ev := range resp.Events {
			key := strings.TrimPrefix(ev.KV.Key, cfg.prefix)
			switch ev.Type {
			case etcd.EventPut:
				cfg.values[key] = string(ev.KV.Value)
				fmt.Fprintf(out, "  revision %d: %s is now %s\n", ev.KV.ModRevision, key, ev.KV.Value)
			case etcd.EventDelete:
				delete(cfg.values, key)
				fmt.Fprintf(out, "  revision %d: %s is gone\n", ev.KV.ModRevision, key)
			}
		}
	}
	return nil
}

func (cfg *config) print(out io.Writer, title string) {
	fmt.Fprintf(out, "%s, %d items:\n", title, len(cfg.values))
	for _, key := range slices.Sorted(maps.Keys(cfg.values)) {
		fmt.Fprintf(out, "  %s = %s\n", key, cfg.values[key])
	}
}
