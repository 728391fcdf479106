package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Backup is a copy of a server's data, to which its history can be set back.
type Backup struct {
	server *etcdtest.Server
	dir    string
}

// TakeBackup stops the server, copies its data and starts it again.
func TakeBackup(t testing.TB, s *etcdtest.Server) *Backup {
	t.Helper()
	b := &Backup{s, filepath.Join(t.TempDir(), "data")}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.dir, os.DirFS(s.DataDir())); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	return b
}

// Restore kills the server and starts it with the data of the backup.
func (b *Backup) Restore(t testing.TB) {
	t.Helper()
	if err := b.server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.server.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.server.DataDir(), os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
}

// NewHistory takes from a client the one error that reports a reset, so that no other call
// gets it, and returns the revision of the new history.
func NewHistory(t testing.TB, c *etcd.Client) int64 {
	t.Helper()
	ctx := Within(t, Patience)
	_, _ = c.Get(ctx, etcd.GetRequest{Key: "x"}) // which may report it
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
