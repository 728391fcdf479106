package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// marker is part of the values in a snapshot of filled, for tests that modify the
// snapshot.
const marker = "a value of the snapshot that is easy to find"

// filled starts a server with about n bytes in its database.
func filled(t *testing.T, n int) *etcdtest.Server {
	t.Helper()
	s, c := private(t, etcdtest.Config{Version: "3.7"}, etcd.Config{})
	value := make([]byte, 256<<10)
	for i := range n / len(value) {
		_, _ = rand.Read(value)
		copy(value[len(value)/2:], marker)
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint("k", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// etcd's own program restores a cluster from a saved snapshot.
func TestSaveSnapshot(t *testing.T) {
	t.Parallel()
	s := filled(t, 4<<20)
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), Timeout: time.Millisecond})
	dir := t.TempDir()
	path := filepath.Join(dir, "backup.db")
	if err := os.WriteFile(path, []byte("of yesterday"), 0o644); err != nil {
		t.Fatal(err)
	}
	var calls int
	var last, of int64
	saved, err := c.Maintenance().SaveSnapshot(t.Context(), etcd.SnapshotRequest{
		Endpoint: s.Endpoints()[0],
		Progress: func(read, total int64) {
			if calls++; read <= last || total < read {
				t.Errorf("%d of %d after %d", read, total, last)
			}
			last, of = read, total
		},
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != saved.Size || saved.Size < 4<<20 || info.Mode() != 0o600 || !strings.HasPrefix(saved.StorageVersion, "3.") || saved.Endpoint != s.Endpoints()[0] {
		t.Errorf("%+v is said to be %+v", info, saved)
	}
	if calls < 100 || last != saved.Size || of != saved.Size {
		t.Errorf("%d reports, the last of %d of %d", calls, last, of)
	}
	onlyFile(t, dir, "backup.db")

	data := filepath.Join(dir, "restored")
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: "etcd", OutputDataDir: data,
		PeerURLs: []string{"http://127.0.0.1:1"}, InitialCluster: "etcd=http://127.0.0.1:1", InitialClusterToken: "restored",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, again := private(t, etcdtest.Config{Version: "3.7", DataDir: data}, etcd.Config{})
	for _, client := range []*etcd.Client{again, connect(t, etcd.Config{Endpoints: s.Endpoints()})} {
		if n := get(t, client, etcd.GetRequest{Key: "k", Prefix: true, CountOnly: true}).Count; n != 16 {
			t.Errorf("%d keys", n)
		}
	}
}

// onlyFile checks that a folder holds exactly the named file, or no file if the
// name is empty.
func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != name {
		t.Errorf("there are files %q, want %q", got, name)
	}
}

// As a stream a snapshot is the database followed by its SHA-256.
func TestSnapshotStream(t *testing.T) {
	t.Parallel()
	s := filled(t, 1<<20)
	c := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	m := c.Maintenance()
	r, err := m.Snapshot(t.Context(), etcd.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	size := r.Size()
	if r.Received() != 0 || size < 1<<20 || r.Endpoint() != s.Endpoints()[0] || r.StorageVersion() == "" {
		t.Errorf("received %d of %d from %s", r.Received(), size, r.Endpoint())
	}
	var all bytes.Buffer
	small := make([]byte, 1000)
	for err == nil {
		var n int
		n, err = r.Read(small)
		all.Write(small[:n])
		if r.Received() != int64(all.Len()) {
			t.Fatalf("%d of %d", r.Received(), all.Len())
		}
	}
	if err != io.EOF || int64(all.Len()) != size {
		t.Errorf("%d bytes of %d, %v", all.Len(), size, err)
	}
	body, sum := all.Bytes()[:all.Len()-sha256.Size], all.Bytes()[all.Len()-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		t.Error("it does not end with its SHA-256")
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Read(small); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}

	// Aborted in the middle, by Close and by the context.
	r, err = m.Snapshot(t.Context(), etcd.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Read(small)
	_ = r.Close()
	_, err = r.Read(small)
	wants(t, err, etcd.ErrStreamClosed, etcd.OutcomeUnknown)
	ctx, cancel := context.WithCancel(t.Context())
	r, err = m.Snapshot(ctx, etcd.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	for err == nil {
		_, err = r.Read(small)
	}
	// A small one may have arrived whole before the context ended.
	if err != io.EOF && !errors.Is(err, context.Canceled) || errors.Is(err, etcd.ErrSnapshotCorrupt) {
		t.Errorf("after the context: %v", err)
	}
	put(t, c, "k", "the client is as it was")
}

// A truncated or modified snapshot leaves no file, and never continues at another
// member.
func TestSnapshotIsNotIntact(t *testing.T) {
	t.Parallel()
	s := filled(t, 2<<20)
	target := strings.TrimPrefix(s.Endpoints()[0], "http://")
	for name, test := range map[string]struct {
		cutAfter int
		flip     string
		is       error
		say      string
	}{
		"cut":     {1 << 20, "", etcd.ErrUnavailable, "snapshot cut short after "},
		"flipped": {0, marker, etcd.ErrSnapshotCorrupt, "the SHA-256 at the end"},
	} {
		c := connect(t, etcd.Config{
			// The snapshot could continue at the second member, which must not
			// happen.
			Endpoints: []string{"http://" + target, "http://localhost:" + target[strings.LastIndex(target, ":")+1:]},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, target)
				return &faulty{Conn: conn, cutAfter: test.cutAfter, flip: test.flip}, err
			},
		})
		dir := t.TempDir()
		path := filepath.Join(dir, "backup.db")
		_, err := c.Maintenance().SaveSnapshot(within(t, time.Minute), etcd.SnapshotRequest{}, path)
		wants(t, err, etcd.ErrSnapshotCorrupt, etcd.OutcomeUnknown)
		wants(t, err, test.is, etcd.OutcomeUnknown)
		mustSay(t, err, "SaveSnapshot", test.say)
		onlyFile(t, dir, "")
		r, err := c.Maintenance().Snapshot(within(t, time.Minute), etcd.SnapshotRequest{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = io.Copy(io.Discard, r)
		wants(t, err, etcd.ErrSnapshotCorrupt, etcd.OutcomeUnknown)
		_ = r.Close()
	}
}

// faulty is a connection that ends after some bytes have arrived, or flips one bit
// in each received copy of a text.
type faulty struct {
	net.Conn
	cutAfter int // 0: never
	flip     string
	seen     int
}

func (f *faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.seen += n
	if f.cutAfter > 0 && f.seen > f.cutAfter {
		return 0, io.ErrUnexpectedEOF
	}
	if at := bytes.Index(p[:n], []byte(f.flip)); f.flip != "" && at >= 0 {
		p[at] ^= 1
	}
	return n, err
}

// Errors of the file are reported before anything is read.
func TestSnapshotFileRefused(t *testing.T) {
	t.Parallel()
	m := connect(t, etcd.Config{}).Maintenance()
	dir := t.TempDir()
	save := func(ctx context.Context, path string) error {
		return second(m.SaveSnapshot(ctx, etcd.SnapshotRequest{}, path))
	}
	refused(t, save(t.Context(), ""), etcd.ErrInvalidRequest, "path is empty")
	refused(t, save(t.Context(), dir), etcd.ErrInvalidRequest, "path is a folder")
	err := second(m.SaveSnapshot(t.Context(), etcd.SnapshotRequest{Endpoint: "x"}, filepath.Join(dir, "s")))
	refused(t, err, etcd.ErrInvalidRequest, "SnapshotRequest.Endpoint")
	wants(t, save(t.Context(), filepath.Join(dir, "none", "s")), fs.ErrNotExist, etcd.OutcomeUnknown)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := save(ctx, filepath.Join(dir, "s")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	onlyFile(t, dir, "")
}
