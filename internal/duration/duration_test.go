package duration

import (
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{1, "X is 1ns; did you mean 1 * time.Second?"},
		{30, "X is 30ns; did you mean 30 * time.Second?"},
		{99, "X is 99ns; did you mean 99 * time.Second?"},
		{100, "X is 100ns; did you mean 100 * time.Millisecond or 100 * time.Second?"},
		{500, "X is 500ns; did you mean 500 * time.Millisecond or 500 * time.Second?"},
		{3600, "X is 3.6µs; did you mean 3600 * time.Millisecond or 3600 * time.Second?"},
		{5000, "X is 5µs; did you mean 5000 * time.Millisecond?"},
		{99_999, "X is 99.999µs; did you mean 99999 * time.Millisecond?"},
		{100_000, "X is 100µs; the shortest is 1ms"},
		{Least - 1, "X is 999.999µs; the shortest is 1ms"},
		{Least, ""},
		{time.Hour, ""},
		{0, ""},
		{-1, ""},
	} {
		got := ""
		if err := Check("X", test.d); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d: %q, want %q", test.d, got, test.want)
		}
	}
}
