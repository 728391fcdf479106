package etcdtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// keepBinaries is how long a cached server program is kept unused.
const keepBinaries = 30 * 24 * time.Hour

// builtBinaries caches the results of serverBinary in this process.
var builtBinaries struct {
	mu    sync.Mutex // protects paths; held during a build
	paths map[string]string
}

// serverBinary returns the path of the etcd program of this version, and builds it
// first if necessary.
func serverBinary(version string) (string, error) {
	builtBinaries.mu.Lock()
	defer builtBinaries.mu.Unlock()
	if path := builtBinaries.paths[version]; path != "" {
		return path, nil
	}
	path, err := buildBinary(version)
	if err != nil {
		return "", fmt.Errorf("etcdtest: the etcd %s program: %w", version, err)
	}
	if builtBinaries.paths == nil {
		builtBinaries.paths = make(map[string]string)
	}
	builtBinaries.paths[version] = path
	return path, nil
}

func buildBinary(version string) (string, error) {
	dir, err := sourceDir()
	if err != nil {
		return "", err
	}
	main := filepath.Join(dir, "servers", "v"+version)
	mod := main // where its go.mod is
	if version == defaultVersion {
		mod = dir
	}
	key, err := hashFiles(filepath.Join(main, "main.go"), filepath.Join(mod, "go.mod"), filepath.Join(mod, "go.sum"))
	if errors.Is(err, os.ErrNotExist) && version != defaultVersion {
		return "", fmt.Errorf("it is built from a checkout of the repository: %w", err)
	}
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "etcd-"+version+"-"+key+exeSuffix)
	if touch(path) {
		return path, nil
	}
	// One process builds and the others wait: linking etcd several times at once
	// would be slower for all.
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(path) {
		return path, nil
	}
	if err := goBuild(main, path); err != nil {
		return "", err
	}
	removeOld(cache)
	return path, nil
}

// goBuild builds the main package in dir and moves the result to path, so that path
// never holds a partial file.
func goBuild(dir, path string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, filepath.Base(path))
	cmd := exec.Command("go", "build", "-race=false", "-mod=readonly", "-buildvcs=false", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", dir, err, text)
	}
	return os.Rename(out, path)
}

// sourceDir returns the directory of this package's source.
func sourceDir() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if dir := filepath.Dir(file); exists(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
	}
	// Built with -trimpath, or moved.
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "silly.store/etcd/etcdtest").Output()
	if err != nil {
		return "", fmt.Errorf("finding its source with go list: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	dir := filepath.Join(base, "silly.store-etcd", "etcdtest")
	return dir, os.MkdirAll(dir, 0o700)
}

// hashFiles returns a short hash of the files, the Go version and the platform.
func hashFiles(names ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, len(b))
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// touch reports whether path exists, and marks it as used.
func touch(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// removeOld deletes files from the cache that have been unused for long. After an
// error the file stays until the next time.
func removeOld(cache string) {
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > keepBinaries {
			os.RemoveAll(filepath.Join(cache, e.Name()))
		}
	}
}
