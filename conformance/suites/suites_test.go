package main

import (
	"strings"
	"testing"
)

func TestReplaceCalls(t *testing.T) {
	const code = `package p

import (
	clientv3 "go.etcd.io/etcd/client/v3"
)

func f() { clientv3.New(clientv3.Config{}); clientv3.NewKV(nil) }
`
	got, ok := replaceCalls(code, "clientv3.New", "v3compat.New", v3compat)
	want := strings.Replace(strings.Replace(code, "clientv3.New(", "v3compat.New(", 1), "import (", "import \"silly.store/etcd/v3compat\"\n\nimport (", 1)
	if !ok || got != want {
		t.Errorf("%v, %s", ok, got)
	}
	if got, ok := replaceCalls(want, "clientv3.New", "v3compat.New", v3compat); ok || got != want {
		t.Errorf("%v, %s", ok, got)
	}
}

func TestLists(t *testing.T) {
	for name, s := range suites {
		if listed, err := parseList(s.differs); err != nil || name == "etcd" && len(listed) == 0 {
			t.Errorf("%s: %v, %v", name, listed, err)
		}
	}
	for _, bad := range []string{"pkg TestX", "TestX: why", "pkg TestX: "} {
		if listed, err := parseList(bad); err == nil {
			t.Errorf("%q is %v", bad, listed)
		}
	}
}

// A run fails for a test that fails unlisted, and for a listed one that passes or is gone.
func TestJudge(t *testing.T) {
	s := &suite{module: "m"}
	r, err := s.read(strings.NewReader(`{"Action":"run","Package":"m/p","Test":"TestGood"}
{"Action":"fail","Package":"m/p","Test":"TestBad/sub"}
{"Action":"output","Package":"m/p","Test":"TestBad","Output":"why\n"}
{"Action":"fail","Package":"m/p","Test":"TestBad"}
{"Action":"pass","Package":"m/p","Test":"TestGood"}
{"Action":"skip","Package":"m/p","Test":"TestSkipped"}
{"Action":"output","Package":"m/p","Test":"TestAfter","Output":"Found leaked goroutined BEFORE test\n"}
{"Action":"skip","Package":"m/p","Test":"TestAfter"}
{"Action":"run","Package":"m/p","Test":"TestHung"}
{"Action":"fail","Package":"m/p"}
`))
	if err != nil || len(r) != 5 || r["p TestBad"].output[0] != "why\n" {
		t.Fatalf("%v, %v", r, err)
	}
	for name, test := range map[string]struct {
		listed string
		partly bool
		ok     bool
	}{
		"as listed":     {"p TestBad: x\np TestHung: x\np TestAfter: x", false, true},
		"not listed":    {"p TestBad: x\np TestAfter: x", false, false},
		"listed passes": {"p TestBad: x\np TestHung: x\np TestAfter: x\np TestGood: x", false, false},
		"sometimes":     {"p TestBad sometimes: x\np TestHung: x\np TestAfter: x\np TestGood sometimes: x", false, true},
		"listed gone":   {"p TestBad: x\np TestHung: x\np TestAfter: x\np TestGone: x", false, false},
		"of a part":     {"p TestBad: x\np TestHung: x\np TestAfter: x\np TestGone: x", true, true},
	} {
		listed, err := parseList(test.listed)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.judge(listed, test.partly); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a test says of its failure is shown, without the log of the servers that it has
// started, and not the goroutine that it has found before it began.
func TestWhy(t *testing.T) {
	log := "    logger.go:146: 2026-11-27T20:58:30.789Z	INFO	m0	LISTEN GRPC\n"
	failed := result{"fail", []string{log, "    x_test.go:7: no progress\n", log}}
	if got := failed.why(); got != ":\n    x_test.go:7: no progress\n" {
		t.Errorf("a failure: %q", got)
	}
	if got := (result{"skip", []string{"Found leaked goroutined BEFORE test\n", "a stack\n"}}).why(); strings.Contains(got, "a stack") {
		t.Errorf("a skip: %q", got)
	}
}

// Packages that the compiler refuses are not a suite without tests.
func TestBrokenPackage(t *testing.T) {
	s := &suite{module: "m"}
	_, err := s.read(strings.NewReader(`{"Action":"output","Package":"m/p","Output":"no such function\n"}
{"Action":"fail","Package":"m/p"}
`))
	if err == nil || !strings.Contains(err.Error(), "no such function") {
		t.Errorf("the error is %v", err)
	}
}
