package etcd

import (
	"errors"
	"time"

	"silly.store/etcd/internal/call"
)

// phase is where a watch is in its life:
//
//	          place             confirm               serve
//	waiting ---------> placed ----------> confirmed ---------> served
//	   ^                 |                    |                   |
//	   |      leave      |        leave       |       leave       |
//	   +-----------------+--------------------+-------------------+
//
//	any phase --- end ---> ended
//
// The first confirmation leads to served at once. A later one does not: a member without a
// leader confirms watches and ends their stream again, in a loop.
//
// All transitions are the methods of this file, and no other file writes the field life.
// Each is made with Watcher.mu held.
type phase uint8

const (
	// phaseWaiting: the watch waits for a stream. The hub has it in its queue, or is
	// about to put it on a stream.
	phaseWaiting phase = iota
	// phasePlaced: its creation is queued or sent on a stream.
	phasePlaced
	// phaseConfirmed: the server has created it there.
	phaseConfirmed
	// phaseServed: the member follows the cluster, as it has answered a linearizable read
	// since the watch was placed, or has sent events.
	phaseServed
	// phaseEnded: it has ended, and stays so.
	phaseEnded
)

func (p phase) String() string {
	return [...]string{"waiting", "placed", "confirmed", "served", "ended"}[p]
}

// life is the state of a watch. Watcher.mu guards it.
type life struct {
	phase phase
	// stream is set while the watch is placed, confirmed or served. id is the server's name
	// for it on the stream, once confirmed; seat orders the watches of a stream.
	stream *watchStream
	seat   int64
	id     int64
	place  placement // what is known of it on the stream

	// begun: a member has confirmed it at least once, with this header.
	begun  bool
	header ResponseHeader

	// left is when it ceased to be served, or was made. leftErr is why it left its last
	// stream. reported: Hooks.WatchStale was called for it, or is about to be, while report
	// is not nil.
	left     time.Time
	leftErr  *call.Error
	reported bool
	report   *staleReport

	// isolated: its reader is slow, so it has a stream to itself. Since when.
	isolated      bool
	isolatedSince time.Time

	err error // why it has ended; nil before
}

// placeLocked puts a watch that waits on a stream: waiting → placed. doubt is how many
// progress responses may still come on the stream that do not know of it.
func (w *Watcher) placeLocked(s *watchStream, seat int64, doubt int) {
	w.life.phase, w.life.stream, w.life.seat = phasePlaced, s, seat
	w.life.place = placement{doubt: doubt}
	w.partial = partialRevision{}
}

// confirmation is what a confirmation has changed.
type confirmation struct {
	made    bool // the watch was on the stream, and waited for it
	resumed bool // it is served again, as info says
	info    WatchResumeInfo
}

// confirm notes that the server has created the watch: placed → confirmed, and on to
// served if there is no doubt that it is. It reports what the watch has missed if it was
// interrupted before. The stream's mu is held.
func (w *Watcher) confirm(s *watchStream, id int64, h ResponseHeader) confirmation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.phase != phasePlaced || w.life.stream != s {
		return confirmation{}
	}
	w.life.phase, w.life.id = phaseConfirmed, id
	w.life.place.revision, w.life.place.first = h.Revision, w.next
	w.seen = max(w.seen, h.Revision)
	switch {
	case !w.life.begun:
		w.life.begun, w.life.header = true, h
		w.serveLocked()
		w.wakeLocked()
		return confirmation{made: true}
	case w.resumes:
		w.pushQuietLocked(&WatchResponse{Header: h, Resumed: true}) // before any events of this stream
	}
	if !w.life.place.follows {
		return confirmation{made: true}
	}
	info, resumed := w.resumeLocked()
	return confirmation{made: true, resumed: resumed, info: info}
}

// serve notes that the member of s follows the cluster: confirmed → served, or placed →
// served with the confirmation. It reports as confirm does.
func (w *Watcher) serve(s *watchStream) (info WatchResumeInfo, resumed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.onStreamLocked(s) {
		return WatchResumeInfo{}, false
	}
	w.life.place.follows = true
	if w.life.phase != phaseConfirmed {
		return WatchResumeInfo{}, false
	}
	return w.resumeLocked()
}

// resumeLocked is serveLocked for a watch that was interrupted. It reports false when the user
// hears of it later, after that it was stale.
func (w *Watcher) resumeLocked() (info WatchResumeInfo, resumed bool) {
	info = w.serveLocked()
	later := w.life.report.defers(func() { w.hub.observer.watchResumed(info) })
	return info, !later
}

// serveLocked is confirmed → served.
func (w *Watcher) serveLocked() WatchResumeInfo {
	w.life.phase, w.life.reported = phaseServed, false
	p := &w.life.place
	return WatchResumeInfo{
		Endpoint: w.life.stream.Endpoint(), Key: w.create.Key, Revision: p.first,
		Behind: max(p.revision-p.first+1, 0), Interrupted: time.Since(w.life.left),
	}
}

// isConfirmedLocked reports whether the server has created the watch on its stream.
func (w *Watcher) isConfirmedLocked() bool {
	return w.life.phase == phaseConfirmed || w.life.phase == phaseServed
}

// knowsMore reports whether the watch knows of a revision that its member did not have
// when it confirmed the watch. The member may be behind the others, or the store may have
// lost its history.
func (w *Watcher) knowsMore() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isConfirmedLocked() && w.seen > w.life.place.revision
}

// leave takes the watch off s, for it to go to another stream: placed, confirmed or served
// → waiting. It reports false when the watch is not on s.
func (w *Watcher) leave(s *watchStream, reason *call.Error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaveLocked(s, reason)
}

// leaveAlone is leave for a watch whose reader is slow: its next stream is for it
// alone.
func (w *Watcher) leaveAlone(s *watchStream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.leaveLocked(s, errWatchWaits) {
		return false
	}
	w.life.isolated, w.life.isolatedSince = true, time.Now()
	return true
}

// leaveEnded is leave for a watch whose stream has ended. A slow reader may have caught
// up meanwhile; its watch shares a stream again then.
func (w *Watcher) leaveEnded(s *watchStream, reason *call.Error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.leaveLocked(s, reason) {
		return false
	}
	w.life.isolated = w.life.isolated && w.buffered > w.maxBuffer/2
	return true
}

func (w *Watcher) leaveLocked(s *watchStream, reason *call.Error) bool {
	if !w.onStreamLocked(s) {
		return false
	}
	w.ceaseLocked()
	w.life.phase, w.life.stream, w.life.leftErr = phaseWaiting, nil, reason
	return true
}

// ceaseLocked notes when a watch that was served no longer is. One that was not has been
// without a member for longer.
func (w *Watcher) ceaseLocked() {
	if w.life.phase == phaseServed {
		w.life.left = time.Now()
	}
}

// end ends the watch with err; the first end counts. It reports whether this was the
// first, and the stream that has to forget the watch.
func (w *Watcher) end(err *call.Error) (stream *watchStream, first bool) {
	var hook func(WatchEndInfo)
	var info WatchEndInfo
	defer func() {
		if hook != nil {
			hook(info)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.phase == phaseEnded {
		return nil, false
	}
	stream = w.life.stream
	w.ceaseLocked()
	failed := public(err)
	w.life.phase, w.life.stream, w.life.err = phaseEnded, nil, failed
	if w.life.begun || errors.Is(failed, ErrCompacted) { // otherwise Watch fails
		hook, info = w.hub.observer.hooks.WatchEnded, WatchEndInfo{Key: w.create.Key, Err: failed}
	}
	if told := hook; told != nil && w.life.report.defers(func() { told(info) }) {
		hook = nil
	}
	w.partial = partialRevision{}
	w.wakeLocked()
	call.Signal(w.room)
	return stream, true
}

// reportLocked notes that the user is about to hear that no member serves the watch. told
// follows that.
func (w *Watcher) reportLocked() { w.life.reported, w.life.report = true, new(staleReport) }

// told passes on what the user was not to hear before the report.
func (w *Watcher) told() {
	for later := w.takeLater(); later != nil; later = w.takeLater() {
		for _, tell := range later {
			tell()
		}
	}
}

func (w *Watcher) takeLater() []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	later := w.life.report.later
	w.life.report.later = nil
	if later == nil {
		w.life.report = nil
	}
	return later
}

// prevCameLocked notes that the member has sent a previous value.
func (w *Watcher) prevCameLocked() { w.life.place.prevCame = true }

// onStreamLocked reports whether the watch is on s: nothing of an old stream may reach it.
func (w *Watcher) onStreamLocked(s *watchStream) bool { return w.life.stream == s }

// placement is what is known of a watch on one stream.
type placement struct {
	// revision is that at which the server was when it created the watch there, and first
	// the first one whose events the watch lacked then.
	revision, first int64
	// follows: since the watch was placed, the member has shown that it follows the cluster.
	follows bool
	// doubt is how many progress responses that are for all watches of the stream
	// may still come that were made before this one was created, and do not know
	// of it.
	doubt int
	// prevCame: the server has sent a previous value, so it knows that it should.
	prevCame bool
}

// covers reports whether a progress response for all watches of the stream, at
// the given revision, counts for this one. The server holds events back until
// their watch is confirmed, but not progress; and progress does not wait for
// confirmations either. A progress response that is older than the watch is of
// no higher revision than its confirmation; and the server answers in order.
func (w *Watcher) covers(s *watchStream, revision int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.onStreamLocked(s) {
		return false
	}
	confirmed, p := w.isConfirmedLocked(), &w.life.place
	if confirmed && revision > p.revision {
		p.doubt = 0
	}
	if p.doubt > 0 {
		p.doubt--
		return false
	}
	return confirmed
}
