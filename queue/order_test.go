package queue

import "testing"

func TestOrderNames(t *testing.T) {
	for o, want := range map[Order]string{Strict: "strict", Relaxed: "relaxed", Relaxed + 1: "Order(2)"} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
