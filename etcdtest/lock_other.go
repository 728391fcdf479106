//go:build !unix

package etcdtest

const exeSuffix = ".exe"

// lockFile does nothing on this platform: several processes may build at once, and
// the rename keeps one of the results.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }
