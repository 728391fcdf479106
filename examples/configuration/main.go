// Configuration keeps a program's settings in etcd, as JSON, and reads them
// back with one request.
//
//	go run ./examples/configuration
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
	"silly.store/etcd/examples/internal/example"
)

// server is the address of a server that the program needs.
type server struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	Name string `json:"name,omitempty"`
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

	app := e.Prefix + "config/app/"
	for name, s := range map[string]server{
		"database": {Host: "localhost", Port: 3306, Name: "mydb"},
		"cache":    {Host: "localhost", Port: 6379},
	} {
		value, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if _, err := c.Put(ctx, etcd.PutRequest{Key: app + name, Value: value}); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "Configuration stored")

	// All settings at one revision, in the order of their keys.
	got, err := c.Get(ctx, etcd.GetRequest{Key: app, Prefix: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Configuration items found: %d\n", got.Count)
	for _, kv := range got.KVs {
		var s server
		if err := json.Unmarshal(kv.Value, &s); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		fmt.Fprintf(out, "  %s => %+v\n", kv.Key, s)
	}
	return nil
}
