package keepalive

import "time"

// leaseClock counts the nanoseconds since its start, including the time during which
// the machine slept. Go's monotonic clock stands still while the machine is
// suspended, but the server's clock does not. So each reading compares the monotonic
// clock with the wall clock: if the wall clock has run ahead since the last reading,
// the machine slept. A wall clock that was set forward looks the same and counts as
// sleep, because the time without renewals is then unknown. A wall clock that was set
// back is ignored.
//
// Not safe for concurrent use.
type leaseClock struct {
	read   func() (mono, wall int64)
	offset int64 // wall - mono at the last reading
	slept  int64
}

// clockJump is how far the wall clock must run ahead between two readings to count.
// Ordinary corrections are far slower: readings are at most a second apart while
// there are leases, and NTP corrects by half a millisecond per second.
const clockJump = int64(50 * time.Millisecond)

func newLeaseClock() leaseClock {
	start := time.Now()
	return leaseClock{
		read: func() (mono, wall int64) {
			now := time.Now()
			return int64(now.Sub(start)), now.UnixNano()
		},
		offset: start.UnixNano(),
	}
}

func (c *leaseClock) now() int64 {
	mono, wall := c.read()
	offset := wall - mono
	if ahead := offset - c.offset; ahead > clockJump {
		c.slept += ahead
	}
	c.offset = offset
	return mono + c.slept
}
