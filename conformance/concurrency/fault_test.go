package concurrency

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/onefault"
)

type kind = onefault.Kind

const (
	loseAnswer = onefault.LoseAnswer
	late       = onefault.Late
	stall      = onefault.Stall
)

var kinds = onefault.Kinds

// faults makes connections of which one request gets a fault.
type faults struct{ *onefault.Faults }

func (f faults) arm(k kind, text string) <-chan struct{} { return f.Arm(k, text) }
func (f faults) sever()                                  { f.Sever() }
func (f faults) deliver(t testing.TB)                    { t.Helper(); f.Deliver(t) }

// faulty makes a client whose requests can get faults.
func faulty(t testing.TB, config etcd.Config) (*etcd.Client, faults) {
	t.Helper()
	f := onefault.New(t)
	config.DialContext = f.Dial
	config.RetrySleep, config.Timeout = time.Millisecond, 500*time.Millisecond
	return connect(t, config), faults{f}
}
