package discovery

import "testing"

func TestPhaseNames(t *testing.T) {
	for p, want := range map[Phase]string{Putting: "putting", Ended: "ended", Ended + 1: "Phase(5)", 255: "Phase(255)"} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
