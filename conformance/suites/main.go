package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	keep := flag.Bool("keep", false, "keep the copy of the suite")
	only := flag.String("run", "", "run only the tests that match `regexp`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, flag.Arg(0), *keep, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, keep bool, only string) error {
	if name == "next" {
		return compileNext(ctx)
	}
	s, ok := suites[name]
	if !ok {
		return fmt.Errorf("%q is no suite; known are etcd, kubernetes and next", name)
	}
	listed, err := parseList(s.differs)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "suite-"+name+"-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("the copy is", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := s.prepare(ctx, dir); err != nil {
		return err
	}
	results, err := s.testAll(ctx, dir, only, listed)
	if err != nil {
		return err
	}
	if err := results.retry(ctx, &s, dir, listed); err != nil {
		return err
	}
	return results.judge(listed, only != "")
}
