package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// SaveSnapshotResponse is the answer of [Maintenance.SaveSnapshot].
type SaveSnapshotResponse struct {
	// Size is the size of the file in bytes.
	Size int64
	// StorageVersion is the version of the database's format, like "3.6.0".
	// Empty before etcd 3.6.
	StorageVersion string
	// Endpoint is the member whose database it is.
	Endpoint string
}

// SaveSnapshot saves the database of a member to a file, which only its owner may
// read, and which "etcdutl snapshot restore" makes a new cluster of. The file
// appears under path, in place of one that may be there, when it is whole, its
// SHA-256 is right and it is on the disk. After an error, or when the process is
// killed, what was under path before is there still, and nothing if there was
// nothing; in the latter case one named .path.*.tmp may be left in its folder.
// Where only making the new name last has failed, the error says so: the file is
// there and whole, and may be gone after a crash of the machine.
//
// ctx bounds all of it; Config.Timeout does not.
//
// Errors: ErrInvalidRequest, ErrSnapshotCorrupt, those of the file system, which
// errors.Is finds too (fs.ErrPermission and so on), and those of every call.
//
// etcd: Maintenance/Snapshot (since 3.3)
func (m Maintenance) SaveSnapshot(ctx context.Context, req SnapshotRequest, path string) (*SaveSnapshotResponse, error) {
	r := &rpcSaveSnapshot
	if path == "" {
		return nil, invalid(r.op, errors.New("path is empty"))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, invalid(r.op, errors.New("path is a folder; give the name of a file in it"))
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // of mode 0600
	if err != nil {
		return nil, fileError(r, err)
	}
	resp, err := m.fill(ctx, r, req, file)
	if err == nil {
		err = publish(r, file, path)
	}
	if err != nil {
		_ = file.Close() // twice does no harm
		_ = os.Remove(file.Name())
		return nil, err
	}
	return resp, nil
}

// fill reads a snapshot into file.
func (m Maintenance) fill(ctx context.Context, r *rpc, req SnapshotRequest, file *os.File) (*SaveSnapshotResponse, error) {
	s, err := m.snapshot(ctx, r, req)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := io.Copy(file, s); err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = fileError(r, err)
		}
		return nil, err
	}
	return &SaveSnapshotResponse{Size: s.Received(), StorageVersion: s.version, Endpoint: s.endpoint}, nil
}

// publish puts a file that is complete on the disk, under its name.
func publish(r *rpc, file *os.File, path string) error {
	for _, step := range []func() error{
		file.Sync,
		file.Close,
		func() error { return os.Rename(file.Name(), path) },
	} {
		if err := step(); err != nil {
			return fileError(r, err)
		}
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fileError(r, fmt.Errorf("%s is saved, but may be gone after a crash: %w", path, err))
	}
	return nil
}

// syncFolder makes a new name in a folder last.
func syncFolder(name string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there, and names need not be
	}
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func fileError(r *rpc, err error) error {
	return &Error{Op: r.op, Code: CodeUnknown, cause: err}
}
