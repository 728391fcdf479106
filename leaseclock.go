package etcd

import "time"

// leaseClock counts the nanoseconds since its start, those included in which the
// machine slept. Go's monotonic clock stands still while a machine is suspended,
// the server's does not, so the wall clock is compared with it at each reading:
// what the wall clock has run ahead since the last one was sleep. A wall clock
// that is set forward looks the same and is taken for it, since then nothing is
// known of how long a lease has really been left alone. Set back, it is ignored.
//
// Not safe for concurrent use.
type leaseClock struct {
	read   func() (mono, wall int64)
	offset int64 // wall - mono at the last reading
	slept  int64
}

// clockJump is by how much the wall clock must run ahead between two readings to
// count. Ordinary corrections are slower by far: readings are a second apart at
// most while there are leases, and NTP corrects by half a millisecond a second.
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
