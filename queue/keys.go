package queue

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The keys of a queue, all below <name>/:
//
//	v/<id>                        the item's value; as long as it exists, the ID is taken
//	i/<priority>/<since>/<id>     the item is ready; its value counts the attempts
//	t/<due>/<priority>/<id>       the item is ready from that time on; likewise
//	c/<id>                        the item is claimed; on the claimer's lease
//	x/<id>                        the item is dead; attempts and priority
//	l/…                           the lanes of the writer
//
// An item has v and one of i, t and x. i and t are its state: each claim and each Nack puts
// it, on the condition that it has the mod revision that was read. Such a revision never
// comes back, so a late copy of an older request has no effect.
//
// Consumers follow c, i and t, which are adjacent, and read a value when they have
// claimed the item.
const (
	claimed = "c/"
	ready   = "i/"
	delayed = "t/"
	values  = "v/"
	dead    = "x/"
	lanes   = "l"
	// followed keys lie from claimed up to this one.
	followEnd = "u"
)

// Priorities are written so that the highest comes first.
const (
	maxPriority = 1<<15 - 1
	minPriority = -1 << 15

	priorityDigits = 4
	timeDigits     = 14 // of microseconds: for 2,000 years
)

// latest is the last time that the digits can tell.
var latest = time.UnixMicro(1<<(4*timeDigits) - 1)

// place is where an item is: what its state key says.
type place struct {
	id       string
	priority int
	at       int64 // since when it is ready, or when it is due; in µs since 1970
	delayed  bool
}

// key is the state key of an item at the place.
func (p place) key(root string) string {
	if p.delayed {
		return fmt.Sprintf("%s%s%014x/%04x/%s", root, delayed, p.at, maxPriority-p.priority, p.id)
	}
	return fmt.Sprintf("%s%s%04x/%014x/%s", root, ready, maxPriority-p.priority, p.at, p.id)
}

// before is the order in which items are taken.
func (p place) before(other place) bool {
	switch {
	case p.priority != other.priority:
		return p.priority > other.priority
	case p.at != other.at:
		return p.at < other.at
	}
	return p.id < other.id
}

// placeOf reads what stands behind the root in a state key; false if it is none.
func placeOf(rest string) (place, bool) {
	if s, ok := strings.CutPrefix(rest, ready); ok {
		priority, s, ok1 := number(s, priorityDigits)
		at, id, ok2 := number(s, timeDigits)
		return place{id: id, priority: maxPriority - int(priority), at: at}, ok1 && ok2 && id != ""
	}
	if s, ok := strings.CutPrefix(rest, delayed); ok {
		at, s, ok1 := number(s, timeDigits)
		priority, id, ok2 := number(s, priorityDigits)
		return place{id: id, priority: maxPriority - int(priority), at: at, delayed: true}, ok1 && ok2 && id != ""
	}
	return place{}, false
}

// number reads the hexadecimal digits that s begins with, and the "/" behind them.
func number(s string, digits int) (n int64, rest string, ok bool) {
	if len(s) <= digits || s[digits] != '/' {
		return 0, "", false
	}
	n, err := strconv.ParseInt(s[:digits], 16, 64)
	return n, s[digits+1:], err == nil && n >= 0
}

// state is the value of a state key.
func state(attempts int) []byte { return strconv.AppendInt(nil, int64(attempts), 10) }

// attemptsOf reads a state; what is no number counts as none.
func attemptsOf(value []byte) int {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// deadState is the value of a dead letter's key.
func deadState(attempts, priority int) []byte { return fmt.Appendf(nil, "%d %d", attempts, priority) }

// deadStateOf reads it.
func deadStateOf(value []byte) (attempts, priority int) {
	a, p, _ := strings.Cut(string(value), " ")
	priority, err := strconv.Atoi(p)
	if err != nil || priority < minPriority || priority > maxPriority {
		priority = 0
	}
	return attemptsOf([]byte(a)), priority
}
