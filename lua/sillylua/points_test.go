package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"silly.store/etcd/etcdtest"
)

// waits are the TTL and the time of waiting, in seconds, that these programs get: a scaled
// one, and that of the manual.
var waits = map[string]struct{ scaled, manual [2]string }{
	"06-grant":      {[2]string{"1", "3"}, [2]string{"60", "65"}},
	"17-heartbeat":  {[2]string{"1", "3"}, [2]string{"5", "15"}},
	"20-long-lease": {[2]string{"1", "3"}, [2]string{"10", "30"}},
}

// TestPoints runs a program for each point of what the manual's programs show.
func TestPoints(t *testing.T) {
	t.Parallel()
	const points = 29
	programs, err := filepath.Glob("testdata/points/*.lua")
	if err != nil || len(programs) != points {
		t.Fatalf("%d programs, want %d (%v)", len(programs), points, err)
	}
	for _, path := range programs {
		name := strings.TrimSuffix(filepath.Base(path), ".lua")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times := waits[name].scaled
			if *slow {
				times = waits[name].manual
			}
			source := strings.ReplaceAll(read(t, path), "127.0.0.1:2379", etcdtest.Start(t).Endpoints()[0])
			checkOutput(t, expect(t, source, "-", times[0], times[1]), read(t, strings.TrimSuffix(path, ".lua")+".want"))
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
