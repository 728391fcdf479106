//go:build matrix

package etcdtest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"silly.store/etcd/etcdtest"
)

// These tests build the older servers, which takes a minute; make test-matrix runs
// them.

func TestOldServersAsProcess(t *testing.T) {
	for _, version := range []string{"3.5", "3.6"} {
		t.Run(version, func(t *testing.T) {
			cfg := unusualConfig()
			cfg.Version = version
			processHasConfig(t, cfg)
			for _, mode := range []etcdtest.TLSMode{etcdtest.NoTLS, etcdtest.ServerTLS, etcdtest.MutualTLS} {
				for _, unix := range []bool{false, true} {
					s := etcdtest.StartConfig(t, etcdtest.Config{Version: version, TLS: mode, Unix: unix})
					if !usable(t, s, s.ClientTLS()) {
						t.Errorf("etcd %s with TLS mode %d, unix socket %v doesn't answer", version, mode, unix)
					}
				}
			}
		})
	}
}

func TestOldServersInCluster(t *testing.T) {
	for _, version := range []string{"3.5", "3.6"} {
		t.Run(version, func(t *testing.T) {
			c := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Version: version}})
			leader, err := c.Leader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := leader.Kill(); err != nil {
				t.Fatal(err)
			}
			if next, err := c.Leader(t.Context()); err != nil || next == leader {
				t.Errorf("after the leader's end the leader is %v, %v", next, err)
			}
		})
	}
}

func TestEnvironmentChoosesServer(t *testing.T) {
	for _, version := range []string{"3.5", "3.6"} {
		t.Setenv(etcdtest.VersionEnv, version)
		s := etcdtest.Start(t)
		if s.Version() != version || s.Embedded() != nil || s.PID() == os.Getpid() {
			t.Errorf("Start gave version %s in process %d, want %s in a child", s.Version(), s.PID(), version)
		}
		if want := fmt.Sprintf(`"etcd-version":"%s.`, version); !strings.Contains(s.Log(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
}
