package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Report is the result of [Mirror.Verify].
type Report struct {
	// SourceRevision and TargetRevision are the revisions that were compared.
	SourceRevision, TargetRevision int64
	// At is when the comparison began.
	At time.Time
	// Keys is the number of keys of the source.
	Keys int64
	// Missing counts the keys that the target does not have, Extra those that only the
	// target has, Different those whose values differ or that are on a lease at the target.
	Missing, Extra, Different int64
	// Examples are the target's keys of the first few differences.
	Examples []string
}

// Equal reports whether there are no differences.
func (r *Report) Equal() bool { return r.Missing+r.Extra+r.Different == 0 }

const mostExamples = 10

// Verify compares the target with the source, at the source's revision that the target's
// checkpoint names. Nothing else finds writes of others at the target. It may be called
// with or without a running Run. It repairs nothing: to do that, delete the checkpoint
// and run the mirror, which then writes the differences.
//
// If the source's revision is compacted, it waits for a later checkpoint.
//
// Errors: ErrCopying when the target is not complete; that of ctx; those of
// [etcd.Client.Range].
//
// etcd: KV/Range (since 3.0), KV/RangeStream where a server has it (since 3.7)
func (m *Mirror) Verify(ctx context.Context) (*Report, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	g, err := m.meet(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	for failures := 0; ; failures++ {
		r, err := m.compare(ctx, g)
		if err == nil || !etcd.HistoryLost(err) && !errors.Is(err, errPart) {
			return r, err
		}
		if !call.Sleep(ctx, pauses.Jittered(failures)) {
			return nil, fmt.Errorf("mirror: Verify: %w; %w", context.Cause(ctx), err)
		}
	}
}

// errPart: the checkpoint is in the middle of a revision.
var errPart = errors.New("a part of a revision is applied")

// compare makes one comparison.
func (m *Mirror) compare(ctx context.Context, g *guard) (*Report, error) {
	found, resp, err := g.read(ctx)
	switch {
	case err != nil:
		return nil, err
	case !found.Complete:
		return nil, fmt.Errorf("mirror: Verify %q: %w", m.config.Name, ErrCopying)
	case found.Done > 0:
		return nil, errPart
	}
	r := &Report{SourceRevision: found.Revision, TargetRevision: resp.Header.Revision, At: time.Now()}
	src, err := m.source.Range(ctx, etcd.GetRequest{Key: m.config.Prefix, Prefix: true, Revision: r.SourceRevision})
	if err != nil {
		return nil, err
	}
	dst, err := m.target.Range(ctx, etcd.GetRequest{Key: m.config.DestPrefix, Prefix: true, Revision: r.TargetRevision})
	if err != nil {
		return nil, err
	}
	for d, err := range differences(m.pairs(src.All(), nil), m.others(dst.All(), g.key, nil)) {
		if err != nil {
			return nil, err
		}
		r.count(d, g.key)
	}
	return r, nil
}

func (r *Report) count(d difference, checkpoint string) {
	if d.key() == checkpoint {
		return
	}
	if d.want != nil {
		r.Keys++
	}
	switch {
	case d.equal():
		return
	case d.has == nil:
		r.Missing++
	case d.want == nil:
		r.Extra++
	default:
		r.Different++
	}
	if len(r.Examples) < mostExamples {
		r.Examples = append(r.Examples, d.key())
	}
}

// verifyOften compares until ctx ends.
func (m *Mirror) verifyOften(ctx context.Context) {
	for call.Sleep(ctx, m.config.Verify) {
		r, err := m.Verify(ctx)
		switch {
		case errors.Is(err, ErrCopying), ctx.Err() != nil:
			continue
		case err != nil:
			m.log(ctx, "the comparison has failed", "error", err)
			continue
		case !r.Equal():
			m.log(ctx, "the target differs from the source", "missing", r.Missing, "extra", r.Extra, "different", r.Different, "examples", r.Examples)
		}
		m.mu.Lock()
		m.status.Verified = r
		m.mu.Unlock()
	}
}
