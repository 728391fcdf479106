package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Mirror copies a prefix of one cluster, or all of it, into another one. Make it with [New].
// It is safe for concurrent use.
type Mirror struct {
	source, target *etcd.Client
	config         Config
	from, to       *wait // at source and target

	// Of the goroutine that runs.
	limits      limits
	compactions int // that have interrupted bases, since the last that was complete

	mu      sync.Mutex // guards the fields below
	running bool
	status  Status
	since   time.Time // of status.Err
	asked   time.Time // when the question was sent that has no answer yet; zero: there is none
}

// Phase is what a [Mirror] is doing.
type Phase uint8

const (
	// Stopped: Run was not called, or has returned.
	Stopped Phase = iota
	// Claiming: it reads its checkpoint and ends an earlier mirror.
	Claiming
	// Copying: it makes the target equal to the source.
	Copying
	// Following: it applies each change.
	Following
)

// String returns the constant's name in lower case, or "Phase(9)" for a value that is none of them.
func (p Phase) String() string {
	if p > Following {
		return fmt.Sprintf("Phase(%d)", uint8(p))
	}
	return [...]string{"stopped", "claiming", "copying", "following"}[p]
}

// Status is the progress of a [Mirror].
type Status struct {
	Phase Phase
	// SourceRevision is the last known revision of the source, and Revision the one whose
	// state the target has. While the first copy is under way, Revision is 0.
	SourceRevision, Revision int64
	// SyncedAt is when the mirror last sent the source a question whose answer showed that
	// the target had everything; zero: never. In phase Following it asks 20 times a
	// second.
	SyncedAt time.Time
	// Changes counts the changes that Run has applied from the source's history, Txns the
	// requests that have written, Written the keys that they have put or deleted, Copies
	// how often the target was made equal from scratch.
	Changes, Txns, Written, Copies int64
	// Verified is the report of the last comparison, nil if there was none.
	Verified *Report
	// Err is the reason why the mirror makes no progress; nil if it does. It is set a
	// second after an unanswered request was made, while the client still repeats the
	// request.
	Err error
}

// Lag is the longest time for which the target may have been behind the source: the time
// since SyncedAt. It grows while either cluster is away. It is 0 if the target was never
// complete.
func (s Status) Lag() time.Duration {
	if s.SyncedAt.IsZero() {
		return 0
	}
	return time.Since(s.SyncedAt)
}

// New makes a mirror from source to target, which may be the same cluster if the prefixes do
// not overlap. It makes no request; call [Mirror.Run].
//
// The error names the field that is wrong; errors.Is finds etcd.ErrInvalidConfig.
func New(source, target *etcd.Client, config Config) (*Mirror, error) {
	if source == nil || target == nil {
		return nil, invalid("a client is nil")
	}
	config, err := config.filled()
	if err != nil {
		return nil, err
	}
	return &Mirror{
		source: source, target: target, config: config, limits: limits{mostOps, mostBytes},
		from: &wait{side: "source", client: source}, to: &wait{side: "target", client: target},
	}, nil
}

// Status returns the mirror's progress.
func (m *Mirror) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// Run copies until ctx ends. It continues where the last run with the mirror's name has
// stopped, in whatever process that was. It waits as long as either cluster is away.
//
// Errors: that of ctx; ErrSuperseded; ErrLoop; ErrRunning; etcd.ErrRequestTooLarge, whose text
// names the key, for a value that the source holds and that is too large for the target beside
// a checkpoint; and those of both clusters that waiting does not cure, like
// etcd.ErrPermissionDenied. In any case the target equals some revision of the source, once it
// was complete.
//
// etcd: KV/Txn, KV/Range, Watch/Watch (since 3.0), KV/RangeStream where a server has it (since 3.7)
func (m *Mirror) Run(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if !m.start() {
		return fmt.Errorf("mirror: %q: %w", m.config.Name, ErrRunning)
	}
	defer m.stop()
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { m.watchOutages(ctx) })
	if m.config.Verify > 0 {
		beside.Go(func() { m.verifyOften(ctx) })
	}
	for failures := 0; ; {
		before := m.Status().Txns
		err := m.round(ctx)
		if m.Status().Txns > before {
			failures = 0
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !m.again(err):
			return m.ended(err)
		}
		m.trouble(ctx, err)
		if !call.Sleep(ctx, pauses.Jittered(failures)) {
			return context.Cause(ctx)
		}
		failures++
	}
}

// again reports whether another round is due after an error.
func (m *Mirror) again(err error) bool {
	if errors.Is(err, etcd.ErrCompacted) {
		m.compactions++
	}
	return passing(err) || etcd.HistoryLost(err) || errors.Is(err, errMoved)
}

func (m *Mirror) ended(err error) error {
	if errors.Is(err, ErrSuperseded) {
		return fmt.Errorf("mirror: %q: %w", m.config.Name, err)
	}
	return err
}

// round claims the checkpoint, completes the target if need be, and follows the source.
func (m *Mirror) round(ctx context.Context) error {
	m.phase(Claiming)
	g, err := m.meet(ctx, m.from, m.to)
	if err != nil {
		return err
	}
	if err := g.claim(ctx, &m.config); err != nil {
		return err
	}
	for {
		if !g.Complete {
			m.phase(Copying)
			if err := m.base(ctx, g); err != nil {
				return err
			}
			m.compactions = 0
		}
		m.followed(ctx, g.Revision)
		err := m.tail(ctx, g)
		if !etcd.HistoryLost(err) {
			return err
		}
		m.log(ctx, "the source's history is lost; the target is compared and completed", "error", err)
		m.trouble(ctx, err)
		g.Complete = false
	}
}

func (m *Mirror) start() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return false
	}
	m.running = true
	return true
}

func (m *Mirror) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running, m.status.Phase, m.asked = false, Stopped, time.Time{}
}

func (m *Mirror) phase(p Phase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Phase, m.asked = p, time.Time{}
}

// begun notes that a copy has begun, of the source's revision.
func (m *Mirror) begun(revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Copies++
	m.status.SourceRevision, m.status.Revision = revision, 0
}

// followed notes that the target has a revision and is kept up to date.
func (m *Mirror) followed(ctx context.Context, revision int64) {
	m.phase(Following)
	m.progress(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Revision = revision
	m.status.SourceRevision = max(m.status.SourceRevision, revision)
}

// wrote notes a Txn.
func (m *Mirror) wrote(ctx context.Context, g *guard, keys int) {
	m.progress(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Txns++
	m.status.Written += int64(keys)
	if g.Complete {
		m.status.Revision = g.Revision
	}
}

// applied notes changes that are applied.
func (m *Mirror) applied(changes int, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Changes += int64(changes)
	m.status.Revision = revision
}

// saw notes a revision that the source has.
func (m *Mirror) saw(revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.SourceRevision = max(m.status.SourceRevision, revision)
}

// asks notes that the source is asked how far it is; false: the last question has no answer.
func (m *Mirror) asks() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.asked.IsZero() && time.Since(m.asked) < time.Second {
		return false
	}
	m.asked = time.Now()
	return true
}

// reached notes the answer, when the target has everything up to its revision.
func (m *Mirror) reached(ctx context.Context, revision int64) {
	m.progress(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Revision = max(m.status.Revision, revision)
	if !m.asked.IsZero() {
		m.status.SyncedAt, m.asked = m.asked, time.Time{}
	}
}

// follows notes what keeps the watch of the source from getting on.
func (m *Mirror) follows(ctx context.Context, err error) {
	if err != nil {
		m.trouble(ctx, err)
	}
}

// trouble notes why there is no progress.
func (m *Mirror) trouble(ctx context.Context, err error) {
	m.mu.Lock()
	first := m.status.Err == nil
	if m.status.Err = err; first {
		m.since = time.Now()
	}
	m.mu.Unlock()
	if first {
		m.log(ctx, "no progress", "error", err)
	}
}

// progress notes that the mirror makes progress.
func (m *Mirror) progress(ctx context.Context) {
	m.mu.Lock()
	was, since := m.status.Err, m.since
	m.status.Err = nil
	m.mu.Unlock()
	if was != nil {
		m.log(ctx, "progress again", "after", time.Since(since), "last_error", was)
	}
}

// log writes a line; ctx is that of Run or Verify.
func (m *Mirror) log(ctx context.Context, text string, args ...any) {
	if m.config.Logger != nil {
		m.config.Logger.WarnContext(ctx, "mirror: "+text, append([]any{"mirror", m.config.Name}, args...)...)
	}
}
