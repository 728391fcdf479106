package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// suite is another project's tests in a module of the Go module proxy.
type suite struct {
	module string
	// version is empty for the one that this module requires.
	version string
	// needs are the folders that the tests are built from.
	needs []string
	// packages are the tested ones.
	packages string
	// constructor and replacement are qualified names of functions; imports is the
	// package of the replacement.
	constructor, replacement, imports string
	// files are added, by their paths.
	files map[string]string
	// unneeded are required modules that the tests do without and the proxy lacks.
	unneeded []string
	// differs is the list of tests that differ.
	differs string
}

//go:embed etcd.txt
var etcdDiffers string

//go:embed kubernetes.txt
var kubernetesDiffers string

// Our module that takes the constructor's place.
const v3compat = "silly.store/etcd/v3compat"

var suites = map[string]suite{
	"etcd": {
		module:      "go.etcd.io/etcd/tests/v3",
		needs:       []string{"framework/config", "framework/integration", "framework/interfaces", "framework/testutils", "framework/unit", "fixtures", "integration"},
		packages:    "./integration/clientv3/...",
		constructor: "clientv3.New", replacement: "v3compat.New", imports: v3compat,
		unneeded: []string{"go.etcd.io/etcd/cache/v3"},
		differs:  etcdDiffers,
	},
	"kubernetes": {
		module: "k8s.io/apiserver", version: "v0.37.2",
		needs:       []string{"."},
		packages:    "./pkg/storage/etcd3/...",
		constructor: "kubernetes.New", replacement: "onv3compat.New", imports: "k8s.io/apiserver/onv3compat",
		files:   map[string]string{"onv3compat/new.go": newKubernetes},
		differs: kubernetesDiffers,
	},
}

// newKubernetes is what client/v3's package kubernetes does around its constructor.
const newKubernetes = `package onv3compat

import (
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"silly.store/etcd/v3compat"
)

func New(config clientv3.Config) (*kubernetes.Client, error) {
	client, err := v3compat.New(config)
	if err != nil {
		return nil, err
	}
	k := &kubernetes.Client{Client: client}
	k.Kubernetes = k
	return k, nil
}
`

// prepare makes dir a copy of the suite that runs on v3compat.
func (s *suite) prepare(ctx context.Context, dir string) error {
	root, err := checkout(ctx)
	if err != nil {
		return err
	}
	version := s.version
	if version == "" {
		if version, err = output(ctx, filepath.Join(root, "v3compat"), "list", "-m", "-f", "{{.Version}}", "go.etcd.io/etcd/client/v3"); err != nil {
			return err
		}
	}
	fmt.Printf("%s@%s on %s\n", s.module, version, v3compat)
	source, err := download(ctx, s.module+"@"+version)
	if err != nil {
		return err
	}
	for _, needed := range append([]string{"go.mod", "go.sum"}, s.needs...) {
		if err := copyTree(filepath.Join(dir, needed), filepath.Join(source, needed)); err != nil {
			return err
		}
	}
	for name, text := range s.files {
		if err := write(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	if err := s.replaceConstructors(dir); err != nil {
		return err
	}
	return s.require(ctx, dir, root)
}

// require adds our modules to the requirements, and takes out what is of no use here.
func (s *suite) require(ctx context.Context, dir, root string) error {
	text, err := output(ctx, dir, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var mod struct {
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(text), &mod); err != nil {
		return err
	}
	edit := []string{"mod", "edit"}
	for _, r := range mod.Replace { // by folders beside the module
		edit = append(edit, "-dropreplace="+r.Old.Path)
	}
	for _, module := range s.unneeded {
		edit = append(edit, "-droprequire="+module)
	}
	for _, module := range []string{"", "/v3compat"} {
		path := "silly.store/etcd" + module
		edit = append(edit, "-require="+path+"@v0.0.0", "-replace="+path+"="+root+module)
	}
	_, err = output(ctx, dir, edit...)
	return err
}

// replaceConstructors edits the Go files below dir that call the constructor.
func (s *suite) replaceConstructors(dir string) error {
	changed := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		edited, ok := replaceCalls(string(text), s.constructor, s.replacement, s.imports)
		if !ok {
			return nil
		}
		changed++
		return write(path, []byte(edited))
	})
	if err == nil && changed == 0 {
		err = fmt.Errorf("no file of %s calls %s", s.module, s.constructor)
	}
	return err
}

// replaceCalls has Go code call another function, of the package that is imported for it.
func replaceCalls(code, from, to, imports string) (edited string, ok bool) {
	if !strings.Contains(code, from+"(") {
		return code, false
	}
	code = strings.ReplaceAll(code, from+"(", to+"(")
	head, rest, _ := strings.Cut(code, "\nimport ")
	return head + fmt.Sprintf("\nimport %q\n\nimport ", imports) + rest, true
}

// checkout is the root of this repository.
func checkout(ctx context.Context) (string, error) {
	mod, err := output(ctx, ".", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(mod)), nil // the folder above this module's
}

// download returns the folder of a module's source.
func download(ctx context.Context, module string) (string, error) {
	text, err := output(ctx, os.TempDir(), "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var d struct{ Dir string }
	err = json.Unmarshal([]byte(text), &d)
	return d.Dir, err
}

// output runs the go command and returns what it writes.
func output(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := command(ctx, dir, args...)
	cmd.Stdout, cmd.Stderr = nil, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// command is a go command outside the workspace that may complete go.mod and go.sum.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	return cmd
}

func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return write(filepath.Join(to, rel), data)
	})
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
