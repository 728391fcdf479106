package queue

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/onefault"
)

// faulty makes a client whose requests can get faults.
func faulty(t testing.TB, config etcd.Config) (*etcd.Client, *onefault.Faults) {
	t.Helper()
	f := onefault.New(t)
	config.DialContext = f.Dial
	config.RetrySleep, config.Timeout = time.Millisecond, 500*time.Millisecond
	return connect(t, config), f
}
