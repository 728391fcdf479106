package backoff

import (
	"math"
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		backoff  Backoff
		failures int
		want     time.Duration
	}{
		{Backoff{First: 20, Cap: 1000}, -1, 20},
		{Backoff{First: 20, Cap: 1000}, 0, 20},
		{Backoff{First: 20, Cap: 1000}, 1, 40},
		{Backoff{First: 20, Cap: 1000}, 5, 640},
		{Backoff{First: 20, Cap: 1000}, 6, 1000},
		{Backoff{First: 20, Cap: 1000}, math.MaxInt, 1000},
		{Backoff{First: 20, Cap: 10}, 0, 10},
		{Backoff{First: 3, Cap: math.MaxInt64}, 100, math.MaxInt64},
		{Backoff{First: 1, Cap: math.MaxInt64}, 62, 1 << 62},
		{Backoff{}, 3, 0},
	} {
		if got := test.backoff.Span(test.failures); got != test.want {
			t.Errorf("%+v: span %v after %d failures, want %v", test.backoff, got, test.failures, test.want)
		}
	}
}

// TestJittered: pauses cover the whole range from 1 to the span, and nothing
// beyond.
func TestJittered(t *testing.T) {
	b := Backoff{First: 2, Cap: 8}
	for failures, span := range []time.Duration{2, 4, 8, 8} {
		seen := make(map[time.Duration]bool)
		for range 2000 {
			d := b.Jittered(failures)
			if d < 1 || d > span {
				t.Fatalf("a pause of %d after %d failures, want 1 to %d", d, failures, span)
			}
			seen[d] = true
		}
		if len(seen) != int(span) {
			t.Errorf("%d different pauses after %d failures, want %d", len(seen), failures, span)
		}
	}
	if d := (Backoff{}).Jittered(1); d != 1 {
		t.Errorf("a backoff without a span pauses for %v, want 1ns", d)
	}
}

func TestJitter(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 2000 {
		d := Jitter(10, 3)
		if d < 7 || d > 13 {
			t.Fatalf("Jitter(10, 3) is %d", d)
		}
		seen[d] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d different pauses, want 7", len(seen))
	}
	if Jitter(10, 0) != 10 || Jitter(10, -1) != 10 {
		t.Error("without a spread the pause is not d")
	}
}

// Bug: a time near the longest wrapped around, and "practically never" was at once.
func TestJitterOfTheLongest(t *testing.T) {
	for range 1000 {
		if d := Jitter(math.MaxInt64, math.MaxInt64/2); d < math.MaxInt64/4 {
			t.Fatalf("%v", d)
		}
		if d := Jitter(math.MaxInt64-5, math.MaxInt64/5); d < math.MaxInt64/4 {
			t.Fatalf("%v", d)
		}
	}
}
