package discovery

import (
	"sync"

	"silly.store/etcd/concurrency"
)

// Two registrations of one key recognize each other by their leases. Those of one
// Coordinator share a lease, would put the key in turns forever, and delete each other's. So
// there is one at a time, until its key is deleted.

// place is a key, and whose lease it is on.
type place struct {
	co  *concurrency.Coordinator
	key string
}

// roll has the registrations that run.
var roll = struct {
	sync.Mutex
	of map[place]*Registration
}{of: make(map[place]*Registration)}

// enlist reports whether no other registration has the place. One that is being closed is the
// former one, whose end is to be waited for.
func (r *Registration) enlist() (former *Registration, ok bool) {
	roll.Lock()
	defer roll.Unlock()
	p := place{r.co, r.key}
	former = roll.of[p]
	if former != nil && former.life.Err() == nil {
		return nil, false
	}
	roll.of[p] = r
	return former, true
}

// strike leaves the place, if it is still this registration's.
func (r *Registration) strike() {
	roll.Lock()
	defer roll.Unlock()
	if p := (place{r.co, r.key}); roll.of[p] == r {
		delete(roll.of, p)
	}
}
