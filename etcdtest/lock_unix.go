//go:build unix

package etcdtest

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const exeSuffix = ""

// lockFile waits for the lock on path, which other processes honor, and takes it.
// The kernel releases it if the process ends.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}
