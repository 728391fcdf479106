package discovery

import (
	"sync"

	"silly.store/etcd/concurrency"
)

// Two registrations of one key recognize each other by their leases. Those of one
// Coordinator share a lease, and would put the key in turns forever. So there is one at a
// time, until Close.

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

// enlist reports whether no other registration has the place. One that is being closed does
// not count: it deletes only what it has put itself.
func (r *Registration) enlist() bool {
	roll.Lock()
	defer roll.Unlock()
	p := place{r.co, r.key}
	if other := roll.of[p]; other != nil && other.life.Err() == nil {
		return false
	}
	roll.of[p] = r
	return true
}

// strike leaves the place, if it is still this registration's.
func (r *Registration) strike() {
	roll.Lock()
	defer roll.Unlock()
	if p := (place{r.co, r.key}); roll.of[p] == r {
		delete(roll.of, p)
	}
}
