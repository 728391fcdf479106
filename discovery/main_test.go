package discovery

import (
	"os"
	"testing"

	"silly.store/etcd/internal/exampletest"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) {
	if len(exampletest.Endpoints()) > 0 {
		os.Exit(m.Run()) // one example, whose client nobody closes
	}
	exampletest.LeaveOut()
	os.Exit(leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/discovery.")...))
}
