package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// compileNext compiles v3compat and its tests with the newest client/v3 that the module
// proxy has, releases or not.
func compileNext(ctx context.Context) error {
	root, err := checkout(ctx)
	if err != nil {
		return err
	}
	own := filepath.Join(root, "v3compat")
	list, err := output(ctx, own, "list", "-m", "-versions", "go.etcd.io/etcd/client/v3")
	if err != nil {
		return err
	}
	versions := strings.Fields(list)
	newest := versions[len(versions)-1]
	fmt.Println("v3compat with go.etcd.io/etcd/client/v3", newest)
	dir, err := os.MkdirTemp("", "suite-next-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, file := range []string{"go.mod", "go.sum"} {
		if err := copyTree(filepath.Join(dir, file), filepath.Join(own, file)); err != nil {
			return err
		}
	}
	mod := "-modfile=" + filepath.Join(dir, "go.mod")
	for _, args := range [][]string{
		{"get", mod, "go.etcd.io/etcd/client/v3@" + newest, "go.etcd.io/etcd/api/v3@" + newest},
		{"vet", mod, "./..."},
	} {
		cmd := command(ctx, own, args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}
