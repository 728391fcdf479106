// Package backoff spaces attempts. Its pauses grow while attempts fail, and differ
// between clients, so that clients that failed together do not come back together.
package backoff

import (
	"math"
	"math/rand/v2"
	"time"
)

// Backoff is a span that doubles with each consecutive failure. It has no state:
// the caller counts the failures.
type Backoff struct {
	First time.Duration // the span without failures
	Cap   time.Duration // the largest span
}

// Span returns First, doubled for each of the failures, up to Cap.
func (b Backoff) Span(failures int) time.Duration {
	span := b.First
	for ; failures > 0 && 0 < span && span < b.Cap; failures-- {
		if span > b.Cap/2 {
			return b.Cap
		}
		span *= 2
	}
	return min(span, b.Cap)
}

// Jittered returns a random pause between 1 ns and the span after that many
// failures ("full jitter").
func (b Backoff) Jittered(failures int) time.Duration {
	span := b.Span(failures)
	if span <= 0 {
		return 1
	}
	return rand.N(span) + 1
}

// Jitter returns d, up to spread longer or shorter.
func Jitter(d, spread time.Duration) time.Duration {
	if spread <= 0 {
		return d
	}
	// A time that stands for "never" must not wrap around.
	spread = min(spread, math.MaxInt64-max(d, 0), (math.MaxInt64-1)/2)
	return d - spread + rand.N(2*spread+1)
}
