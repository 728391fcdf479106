package history

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	r := NewRecorder(Run{Scenario: "s", Seed: 7, Judged: []string{"I1"}})
	r.Call(Call{Kind: Swap, Fate: Unknown, Key: "k", Began: r.Now(), Ended: r.Now()})
	end := r.Fault(Fault{Name: "cut"})
	end()
	w := r.NewWatch(Filter{Key: "k", Prefix: true}, 3, 2)
	w.Responses = []Response{{Revision: 3, Events: []Event{{Revision: 3, Key: "k", Delete: true}}}}
	r.Sample("dial", time.Second)
	run := r.Finish()
	run.Began = run.Began.Round(0) // a file has no monotonic clock
	if run.Faults[0].To < run.Faults[0].From || run.Took <= 0 || run.Watches[0].Requested != 3 {
		t.Errorf("history %+v", run)
	}
	path := filepath.Join(t.TempDir(), "h.json.gz")
	if err := run.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Began.Equal(run.Began) {
		t.Errorf("began %v, want %v", again.Began, run.Began)
	}
	again.Began = run.Began
	if !reflect.DeepEqual(run, again) {
		t.Errorf("read %+v, want %+v", again, run)
	}
	if err := run.Save(filepath.Join(path, "h")); err == nil {
		t.Error("saved under a file")
	}
}

// A copy keeps no other memory alive, and each string has one copy.
func TestInterner(t *testing.T) {
	in := NewInterner()
	buf := []byte("key")
	s := in.Bytes(buf)
	buf[0] = 'x'
	if s != "key" || in.String("key") != s || in.Bytes([]byte("key")) != s {
		t.Errorf("interned %q", s)
	}
}
