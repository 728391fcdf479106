// Command wiregen generates the codec of package etcd.
//
// Its input is the structs in the root's messages_*.go files: a struct with an
// etcd:message directive is a protobuf message, and the etcd tags of its fields are
// their numbers. An int32 with an etcd:enum directive is an enum; an etcd:value
// directive per constant gives its name in Go and in etcd.
//
// Its output is messages_gen.go, which appends requests, decodes responses and names
// the values of exported enums, and messages_gen_codectest.go, which decodes requests
// and appends responses for tests with the build tag codectest.
//
// First it compares every tag and enum value with the descriptors of etcd's own API
// module. It writes nothing if one differs or if etcd has a message or field that is
// neither carried nor waived (waive.go).
//
// With -check it only reports whether the files are stale.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "..", "folder of package etcd")
	check := flag.Bool("check", false, "write nothing; fail if the generated files are stale")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "wiregen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	sources, err := readSources(root)
	if err != nil {
		return err
	}
	files, err := generate(sources)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(root, f.name)
		if !check {
			if err := os.WriteFile(path, f.content, 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, f.content) {
			return fmt.Errorf("%s is stale: run go generate in the root", f.name)
		}
	}
	return nil
}

// readSources returns the hand-written messages_*.go files of folder root.
func readSources(root string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(root, "messages_*.go"))
	if err != nil {
		return nil, err
	}
	sources := make(map[string][]byte)
	for _, path := range paths {
		name := filepath.Base(path)
		switch {
		case name == genFile, name == genTestFile, name == "messages_codectest.go":
			continue
		case isTest(name):
			continue
		}
		if sources[name], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no messages_*.go in %s", root)
	}
	return sources, nil
}

func isTest(name string) bool {
	ok, _ := filepath.Match("*_test.go", name)
	return ok
}

// generate checks the sources and returns the files generated from them.
func generate(sources map[string][]byte) ([]file, error) {
	s, err := parse(sources)
	if err != nil {
		return nil, err
	}
	if err := check(s); err != nil {
		return nil, err
	}
	return emit(s)
}
