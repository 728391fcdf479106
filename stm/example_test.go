package stm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/exampleclient"
	"silly.store/etcd/stm"
)

// What the examples begin with. conformance/examples runs each of them on its own etcd
// and checks its output. Without an etcd they are compiled.
var (
	ctx = context.Background()
	c   = exampleclient.New()
)

// Money moves from one account to another, or not at all.
func ExampleRun() {
	_, err := c.Put(ctx, etcd.PutRequest{Key: "accounts/ann", Value: []byte("100")})
	if err != nil {
		log.Fatal(err)
	}

	add := func(tx *stm.Tx, account string, amount int) error {
		kv, _, err := tx.Get(account)
		if err != nil {
			return err
		}
		balance, _ := strconv.Atoi(string(kv.Value)) // a new account is empty
		if balance += amount; balance < 0 {
			return errors.New(account + " has not enough")
		}
		return tx.Put(etcd.PutRequest{Key: account, Value: []byte(strconv.Itoa(balance))})
	}
	transfer := func(from, to string, amount int) error {
		_, err := stm.Run(ctx, c, stm.Config{}, func(tx *stm.Tx) error {
			if err := add(tx, from, -amount); err != nil {
				return err
			}
			return add(tx, to, amount)
		})
		return err
	}
	fmt.Println(transfer("accounts/ann", "accounts/bob", 30))
	fmt.Println(transfer("accounts/ann", "accounts/bob", 80))

	resp, err := c.Get(ctx, etcd.GetRequest{Key: "accounts/", Prefix: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range resp.KVs {
		fmt.Printf("%s %s\n", kv.Key, kv.Value)
	}
	// Output:
	// <nil>
	// accounts/ann has not enough
	// accounts/ann 70
	// accounts/bob 30
}

// A list that several programs append to.
func ExampleUpdate() {
	result, err := stm.Update(ctx, c, "list", func(old etcd.KeyValue, found bool) ([]byte, error) {
		return append(old.Value, "two\n"...), nil
	})
	if err != nil {
		log.Fatal(err)
	}
	kv, err := c.Get(ctx, etcd.GetRequest{Key: "list"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%safter %d attempt\n", kv.KVs[0].Value, result.Attempts)
	// Output:
	// one
	// two
	// after 1 attempt
}

// A list to which each line is added exactly once, also when the answer to a commit is lost.
func ExampleUpdateWith() {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer co.Close(ctx)
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close(ctx)

	for _, line := range []string{"one\n", "two\n"} {
		_, err := stm.UpdateWith(ctx, w, "log", func(old etcd.KeyValue, found bool) ([]byte, error) {
			return append(old.Value, line...), nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	kv, err := c.Get(ctx, etcd.GetRequest{Key: "log"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", kv.KVs[0].Value)
	// Output:
	// one
	// two
}
