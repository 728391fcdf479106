// Package duration refuses durations whose unit is missing: `Timeout: 5` is five nanoseconds.
package duration

import (
	"fmt"
	"time"
)

// Least is the shortest duration that a configuration or a request may name. Nothing that
// this client waits for is shorter.
const Least = time.Millisecond

// Check refuses a positive duration below [Least]. The error begins with the field's name and
// suggests what was meant, where the number lets one guess.
func Check(field string, d time.Duration) error {
	if !Forgotten(d) {
		return nil
	}
	return fmt.Errorf("%s is %v; %s", field, d, hint(int64(d)))
}

// Forgotten reports whether d is positive and too short to be meant.
func Forgotten(d time.Duration) bool { return 0 < d && d < Least }

const (
	mostSeconds = 3600    // a bare number above an hour's seconds is not in seconds
	leastMillis = 100     // one below this is not in milliseconds
	mostMillis  = 100_000 // nor is one from here on
)

// hint guesses the unit from the number alone.
func hint(n int64) string {
	switch {
	case n < leastMillis:
		return fmt.Sprintf("did you mean %d * time.Second?", n)
	case n <= mostSeconds:
		return fmt.Sprintf("did you mean %d * time.Millisecond or %d * time.Second?", n, n)
	case n < mostMillis:
		return fmt.Sprintf("did you mean %d * time.Millisecond?", n)
	}
	return fmt.Sprintf("the shortest is %v", Least)
}
