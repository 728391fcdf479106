package concurrency

import "context"

// RWMutex is a lock for any number of readers or one writer. It is safe for concurrent use.
//
// Contenders get it in the order in which they asked: a reader waits for the writers
// before it, a writer for everyone before it, so neither starves. A reader cannot
// become a writer or the reverse, since it would have to overtake others.
type RWMutex struct {
	read, write queue
}

// RWMutex returns the reader-writer lock of a name. It does no I/O.
//
// Keys: <name>/read/<lease>[.<n>] and <name>/write/<lease>[.<n>].
func (co *Coordinator) RWMutex(name string) *RWMutex {
	root := name + "/"
	readers, writers := root+"read/", root+"write/"
	return &RWMutex{
		read:  queue{co: co, name: name, root: root, prefix: readers, kinds: []string{writers}},
		write: queue{co: co, name: name, root: root, prefix: writers, kinds: []string{readers, writers}},
	}
}

// Lock waits until it holds the lock for writing; see [Mutex.Lock].
func (m *RWMutex) Lock(ctx context.Context) (*Lock, error) { return m.write.acquire(ctx, false) }

// RLock waits until it holds the lock for reading, along with other readers; see
// [Mutex.Lock]. [Lock.Guard] and [Lock.Txn] of a reader protect its holding, not exclusion.
func (m *RWMutex) RLock(ctx context.Context) (*Lock, error) { return m.read.acquire(ctx, false) }
