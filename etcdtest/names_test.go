package etcdtest_test

import (
	"fmt"
	"testing"

	"silly.store/etcd/etcdtest"
)

func TestChoicesPrint(t *testing.T) {
	for value, want := range map[fmt.Stringer]string{
		etcdtest.NoTLS: "NoTLS", etcdtest.ServerTLS: "ServerTLS", etcdtest.MutualTLS: "MutualTLS",
		etcdtest.TLSMode(3): "TLSMode(3)", etcdtest.TLSMode(-1): "TLSMode(-1)",
		etcdtest.ToServer: "ToServer", etcdtest.ToClient: "ToClient", etcdtest.BothWays: "BothWays",
		etcdtest.Way(0): "Way(0)", etcdtest.Way(4): "Way(4)",
	} {
		if got := value.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
