package coalesce

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	const ms = time.Millisecond
	var w window
	w.init()
	w.note(10*ms, true, false)
	for _, step := range []struct {
		name          string
		took          time.Duration
		idle, waiting bool
		size          int
		base          time.Duration
	}{
		{"as fast as can be, and calls wait", 11 * ms, false, true, 17, 10 * ms},
		{"the same, and none waits", 11 * ms, false, false, 17, 10 * ms},
		{"slower", 18 * ms, false, true, 17, 10 * ms},
		{"much slower", 21 * ms, false, true, 16, 10 * ms},
		{"faster than ever", 8 * ms, false, false, 16, 8 * ms},
		{"slower with nothing else under way", 16 * ms, true, false, 16, 9 * ms},
	} {
		w.note(step.took, step.idle, step.waiting)
		if w.size != step.size || w.base != step.base {
			t.Errorf("%s: %d, base %v; want %d, %v", step.name, w.size, w.base, step.size, step.base)
		}
	}
	for range 1000 {
		w.note(time.Second, false, true)
	}
	if w.size != minWindow {
		t.Errorf("%d under load", w.size)
	}
	for range 1000 {
		w.note(w.base, false, true)
	}
	if w.size != maxWindow {
		t.Errorf("%d without", w.size)
	}
}
