package mirror

import "testing"

func TestPhaseNames(t *testing.T) {
	for p, want := range map[Phase]string{Stopped: "stopped", Following: "following", Following + 1: "Phase(4)", 255: "Phase(255)"} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
