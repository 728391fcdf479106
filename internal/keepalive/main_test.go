package keepalive

import (
	"testing"

	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
