// Liveconfig keeps a program's settings in memory, decoded, and follows their changes. A value
// that cannot be decoded does not replace the last that could.
//
//	go run ./examples/liveconfig
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/examples/internal/example"
)

// limits are the settings.
type limits struct {
	Requests int `json:"requests"`
}

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
	key := e.Prefix + "live/limits"
	if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte(`{"requests": 10}`)}); err != nil {
		return err
	}

	settings, err := cache.New(c, cache.Config{Key: e.Prefix + "live/", Prefix: true})
	if err != nil {
		return err
	}
	defer settings.Close()
	if err := settings.Ready(ctx); err != nil {
		return err
	}
	decoded, err := cache.NewTyped(settings, cache.TypedConfig[limits]{Decode: decode, KeepLast: true})
	if err != nil {
		return err
	}

	// What a program does for every request: no lock, no allocation, no decoding.
	now, _ := decoded.Peek(key)
	fmt.Fprintf(out, "%d requests at a time\n", now.Value.Requests)

	for _, value := range []string{`{"requests": 20}`, `{"requests": "many"}`} {
		put, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte(value)})
		if err != nil {
			return err
		}
		// This program waits for its own write. Others see it within milliseconds.
		if _, err := settings.Snapshot(ctx, cache.AtLeast(put.Header.Revision)); err != nil {
			return err
		}
		now, _ := decoded.Peek(key)
		fmt.Fprintf(out, "%d requests at a time\n", now.Value.Requests)
		if now.Err != nil {
			fmt.Fprintln(out, "the last good value stays:", now.Last)
		}
	}
	return nil
}

func decode(kv etcd.KeyValue) (l limits, err error) {
	err = json.Unmarshal(kv.Value, &l)
	return l, err
}
