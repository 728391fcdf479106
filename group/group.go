package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/duration"
)

// Config names the group and describes the member. Name and Partitions are required, and must
// be the same in all members.
type Config struct {
	// Name is the prefix of the group's keys, followed by "/". No other group, queue or lock
	// may have a name that begins with it and a "/".
	Name string
	// Partitions is the number of partitions, from 1 to 4,096.
	Partitions int
	// Member is the name of this member, such as the host name. With the same name it owns
	// the same partitions again after a restart. It must not contain "/". Empty means a
	// random name.
	Member string
	// Weight is this member's share of the partitions, relative to the weights of the
	// others. From 1 to 1,000; 0 means 1.
	Weight int
	// Settle is how long the group waits after a change of its members, for further changes,
	// before partitions move. 0 means 1 s; negative means no wait.
	Settle time.Duration
	// Logger logs the moves of partitions, and errors of the function. Nil means
	// silence.
	Logger *slog.Logger
}

const (
	defaultSettle = time.Second
	maxPartitions = 4096
	maxWeight     = 1000
)

// filled is the configuration with the meanings of its zeros.
func (c Config) filled() (Config, error) {
	switch {
	case c.Name == "":
		return c, errors.New("Config.Name is empty; it is the prefix of the group's keys")
	case strings.HasSuffix(c.Name, "/"):
		return c, fmt.Errorf("Config.Name is %q; leave out the last \"/\"", c.Name)
	case c.Partitions < 1 || c.Partitions > maxPartitions:
		return c, fmt.Errorf("Config.Partitions is %d; use 1 to %d", c.Partitions, maxPartitions)
	case strings.Contains(c.Member, "/"):
		return c, fmt.Errorf("Config.Member is %q; it must be without \"/\"", c.Member)
	case c.Weight < 0 || c.Weight > maxWeight:
		return c, fmt.Errorf("Config.Weight is %d; use 1 to %d", c.Weight, maxWeight)
	case c.Logger != nil && c.Logger.Handler() == nil:
		return c, errors.New("Config.Logger has no handler; make it with slog.New")
	}
	if err := duration.Check("Config.Settle", c.Settle); err != nil {
		return c, err
	}
	c.Logger = callback.Logger(c.Logger, nil)
	if c.Member == "" {
		c.Member = rand.Text()
	}
	if c.Weight == 0 {
		c.Weight = 1
	}
	if c.Settle == 0 {
		c.Settle = defaultSettle
	}
	return c, nil
}

// Errors that errors.Is finds in what this package returns, in addition to those of
// packages concurrency and etcd.
var (
	// ErrMemberExists: another member used this name until the context of Join ended.
	ErrMemberExists = errors.New("the group has a member of this name")
	// ErrConfigMismatch: the group has members with a different Config.Partitions.
	ErrConfigMismatch = errors.New("the group has a different number of partitions")
	// ErrMoved: the partition moves to another owner.
	ErrMoved = errors.New("the partition moves to another member")
	// ErrLeft: the member has left the group.
	ErrLeft = errors.New("the member has left the group")
)

// Group is a membership in a group, from Join to Leave. It is safe for concurrent use.
type Group struct {
	co     *concurrency.Coordinator
	config Config
	f      func(context.Context, *Partition) error

	life     context.Context // ends with Leave, or with an error
	end      context.CancelCauseFunc
	final    context.Context // bounds releases; ends when Leave does not wait for them any more
	endFinal context.CancelFunc
	routines sync.WaitGroup
	done     chan struct{} // closed when all of them have ended
	joined   chan struct{} // closed when the member is registered for the first time
	nudge    chan struct{} // capacity 1: registered has changed

	mu         sync.Mutex // guards the fields below
	members    []Member
	registered bool
	wanted     map[int]context.CancelCauseFunc // partitions that this member should own
	owned      map[int]*Partition
	calls      int64
	failed     int64
}

// Join makes this process a member, and calls f for each partition that it owns, in a separate
// goroutine, with a context that ends when the partition moves, the lock may be lost, or the
// member leaves. f must return when its context ends. If it returns earlier, it is called again
// after a pause of up to 5 s. A panic of f counts as a returned error; the log has the stack.
//
// Join waits until the member is registered; ctx bounds that wait, not the membership. A
// member that has crashed keeps its name for the TTL of its lease: Join waits for that.
//
// Errors: ErrMemberExists, ErrConfigMismatch, etcd.ErrInvalidConfig, and those of [concurrency.Mutex.Lock].
//
// etcd: KV/Txn, KV/Range (since 3.0), Watch/Watch, Lease/LeaseGrant
func Join(ctx context.Context, co *concurrency.Coordinator, config Config, f func(ctx context.Context, p *Partition) error) (*Group, error) {
	switch {
	case ctx == nil:
		return nil, fmt.Errorf("group: the context is nil; use context.Background() if there is none: %w", etcd.ErrInvalidRequest)
	case co == nil:
		return nil, fmt.Errorf("group: the coordinator is nil: %w", etcd.ErrInvalidConfig)
	case f == nil:
		return nil, fmt.Errorf("group: the function is nil: %w", etcd.ErrInvalidConfig)
	}
	config, err := config.filled()
	if err != nil {
		return nil, fmt.Errorf("group: %w: %w", etcd.ErrInvalidConfig, err)
	}
	g := &Group{
		co: co, config: config, f: f, done: make(chan struct{}), joined: make(chan struct{}), nudge: make(chan struct{}, 1),
		wanted: make(map[int]context.CancelCauseFunc), owned: make(map[int]*Partition),
	}
	g.life, g.end = context.WithCancelCause(context.Background())
	g.final, g.endFinal = context.WithCancel(context.Background())
	g.start()
	select {
	case <-g.joined:
		return g, nil
	case <-g.life.Done():
		err = g.Err()
	case <-ctx.Done():
		err = g.notJoined(ctx)
	}
	g.end(err)
	g.endFinal()
	<-g.done
	return nil, err
}

// start starts the goroutines; another one waits for them.
func (g *Group) start() {
	g.routines.Go(g.register)
	g.routines.Go(g.follow)
	go func() {
		g.routines.Wait()
		g.endFinal()
		close(g.done)
	}()
}

// notJoined is why Join has waited in vain.
func (g *Group) notJoined(ctx context.Context) error {
	err := g.named(context.Cause(ctx))
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.members, func(m Member) bool { return m.Name == g.config.Member }) {
		return fmt.Errorf("%w: %w", ErrMemberExists, err)
	}
	return err
}

func (g *Group) named(err error) error {
	return fmt.Errorf("group %q: member %q: %w", g.config.Name, g.config.Member, err)
}

// Leave gives up all partitions and the membership: it ends the contexts of the function's
// calls, waits until they have returned, and unlocks. When ctx ends first, that goes on
// without Leave, and another Leave waits for it.
//
// It returns the error that ended the membership earlier, or ctx's.
//
// etcd: KV/Txn (since 3.0)
func (g *Group) Leave(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("group: the context is nil; use context.Background() if there is none: %w", etcd.ErrInvalidRequest)
	}
	g.end(ErrLeft)
	select {
	case <-g.done:
	case <-ctx.Done():
		g.endFinal()
		return g.named(context.Cause(ctx))
	}
	if err := g.Err(); !errors.Is(err, ErrLeft) {
		return err
	}
	return nil
}

// Done is closed when the membership has ended and no call of the function is left: after
// Leave, after the end of the Coordinator or the client, and after errors that waiting
// does not cure.
func (g *Group) Done() <-chan struct{} { return g.done }

// Err is nil while the membership lasts, and then says why it has ended. errors.Is finds
// ErrLeft after Leave.
func (g *Group) Err() error { return context.Cause(g.life) }

// Member is this member's name.
func (g *Group) Member() string { return g.config.Member }

// Members returns the members that this process knows of, ordered by name.
func (g *Group) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// Stats describes the present state and the past work of a membership.
type Stats struct {
	// Members is the number of members, Wanted the number of partitions that this one
	// should own, Owned the number that it owns.
	Members, Wanted, Owned int
	// Calls counts the calls of the function, including those that still run, Failed those
	// that returned before their context ended.
	Calls, Failed int64
}

// Stats returns a snapshot.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{Members: len(g.members), Wanted: len(g.wanted), Owned: len(g.owned), Calls: g.calls, Failed: g.failed}
}

// Owned returns the partitions that this member owns now, in ascending order.
func (g *Group) Owned() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]int, 0, len(g.owned))
	for index := range g.owned {
		list = append(list, index)
	}
	slices.Sort(list)
	return list
}

// membersRoot is the prefix of the members' keys.
func (g *Group) membersRoot() string { return g.config.Name + "/m/" }

// partition is the name of a partition's mutex.
func (g *Group) partition(index int) string { return fmt.Sprintf("%s/p/%04d", g.config.Name, index) }

// fail ends the membership because of err.
func (g *Group) fail(err error) {
	if g.life.Err() == nil {
		g.end(g.named(err))
	}
}

// log writes a line; ctx is that of the partition, or of the membership.
func (g *Group) log(ctx context.Context, msg string, args ...any) {
	if g.config.Logger != nil {
		g.config.Logger.InfoContext(ctx, msg, append([]any{"group", g.config.Name, "member", g.config.Member}, args...)...)
	}
}
