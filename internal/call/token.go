package call

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// tokens keeps the one token that all connections of a client share. A goroutine
// obtains it when it is first needed and again when the server rejects it; all
// calls wait for that goroutine. A nil *tokens belongs to a client without
// credentials.
type tokens struct {
	engine   *Engine
	source   func(context.Context) (Credentials, error)
	fixed    bool            // source always returns the same
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup

	// current is nil before there is a token and after it was rejected. It is
	// written with mu held.
	current atomic.Pointer[token]

	mu     sync.Mutex // guards the fields below
	closed bool
	flight *authFlight // in progress
	// refused is the error of the last flight if asking again at once would be
	// pointless. get returns it until refusedUntil.
	refused      *Error
	refusedUntil time.Time
	refusals     int // in a row
	// unsettled is a new token that a member rejected; it is tried once more.
	unsettled *token
	// useless counts consecutive tokens of Config.Credentials that the server
	// rejected on first use.
	useless int
}

// token is the auth token of a call. It is empty while the cluster's authentication
// is off.
type token struct {
	text string
	// given: it comes from Config.Credentials, not from the server.
	given bool
	// issued is the time at which it was obtained; zero if that does not matter.
	issued time.Time
}

// value returns the text in the form of transport.Request.
func (t *token) value() string {
	if t == nil {
		return ""
	}
	return t.text
}

// datesItself reports whether the token holds the revision of users and roles, and
// so becomes invalid when they change. JWTs do, simple tokens do not.
func (t *token) datesItself() bool { return strings.Count(t.text, ".") == 2 }

// authFlight is one attempt to obtain a token. token and err are set before done is
// closed.
type authFlight struct {
	progress Progress // of the request
	done     chan struct{}
	token    *token
	err      *Error
}

const (
	// A member that lags may reject a token that it does not know yet. etcd 3.6 and
	// 3.7 write into simple tokens the index up to which a member must have applied
	// the log, but it is the index of the previous entry. So a token that is
	// rejected this soon is tried again, after a pause.
	tokenIsNew   = time.Second
	tokenSettles = 25 * time.Millisecond
	// credentialsTimeout bounds Config.Credentials when Config.Timeout does not.
	credentialsTimeout = 10 * time.Second
)

// refusalBackoff spaces the requests for a token while the server refuses the
// credentials: checking a password costs the server a tenth of a second of CPU.
var refusalBackoff = backoff.Backoff{First: 200 * time.Millisecond, Cap: 5 * time.Second}

func newTokens(e *Engine) *tokens {
	if e.config.Credentials == nil {
		return nil
	}
	t := &tokens{engine: e, source: e.config.Credentials, fixed: e.config.FixedCredentials}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// get returns the token and waits for one if necessary, within b. Its error is that
// of a request of m that was not sent.
func (t *tokens) get(ctx context.Context, m *rpc.Method, b Bound) (*token, *Error) {
	if t == nil || m.Anonymous {
		return nil, nil
	}
	if tok := t.current.Load(); tok != nil {
		return tok, nil
	}
	return t.wait(ctx, m, b)
}

// CredentialsMayChange reports whether Config.Credentials may return other
// credentials next time.
func (e *Engine) CredentialsMayChange() bool { return e.tokens != nil && !e.tokens.fixed }

func (t *tokens) wait(ctx context.Context, m *rpc.Method, b Bound) (*token, *Error) {
	const doing = "waiting for an auth token"
	f := t.join()
	over, stop := b.expiry()
	defer stop()
	elections := time.NewTicker(ElectionPause)
	defer elections.Stop()
	for limited := (ElectionWait{}); ; {
		select {
		case <-f.done:
			if f.err == nil {
				return f.token, nil
			}
			return nil, notObtained(f.err, m)
		case <-ctx.Done():
			return nil, ContextEnded(ctx, m, doing).After(f.progress.trouble())
		case <-over:
			return nil, timeUp(m, doing).After(f.progress.trouble())
		case <-elections.C: // the flight waits for a leader as long as it takes
			if last := f.progress.trouble(); limited.Over(ctx, last) {
				ended := notObtained(last, m)
				ended.Transient, ended.election = false, false // or the attempt would wait as long again
				return nil, ended
			}
		}
	}
}

// notObtained is the error of a request of m that was not sent because err prevented a
// token. It is a copy, since several callers may get err.
func notObtained(err *Error, m *rpc.Method) *Error {
	e := *err
	e.Op, e.Outcome, e.Write = m.Op, OutcomeNotSent, m.Writes()
	return &e
}

// join returns the flight in progress, or starts one.
func (t *tokens) join() *authFlight {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != nil {
		return t.flight
	}
	f := &authFlight{progress: Progress{Calls: 1}, done: make(chan struct{})}
	tok := t.current.Load()
	switch {
	case t.closed:
		f.err = Closed(rpc.Authenticate.Op)
	case tok != nil: // it arrived while we took the lock
		f.token = tok
	case t.refused != nil && time.Now().Before(t.refusedUntil):
		f.err = t.refused
	default:
		t.flight = f
		t.routines.Go(func() { t.runFlight(f) })
		return f
	}
	close(f.done)
	return f
}

// runFlight is the goroutine of one flight.
func (t *tokens) runFlight(f *authFlight) {
	tok, err := t.obtain(&f.progress)
	t.mu.Lock()
	switch {
	case t.closed:
		tok, err = nil, Closed(rpc.Authenticate.Op)
	case err == nil:
		t.current.Store(tok)
		if !tok.given { // a given token may still prove useless
			t.refused, t.refusals = nil, 0
		}
	case err.refusesCredentials():
		t.refuseLocked(err)
	}
	t.flight = nil
	t.mu.Unlock()
	f.token, f.err = tok, err
	close(f.done)
}

// refuseLocked makes get return err for a while, longer each time.
func (t *tokens) refuseLocked(err *Error) {
	pause := refusalBackoff.Span(t.refusals)
	t.refused, t.refusedUntil = err, time.Now().Add(backoff.Jitter(pause, pause/5))
	t.refusals++
}

// obtain gets the credentials and, if necessary, exchanges them for a token.
func (t *tokens) obtain(p *Progress) (*token, *Error) {
	if tok := t.takeUnsettled(); tok != nil {
		Sleep(t.ctx, tokenSettles)
		return tok, nil
	}
	credentials, err := t.ask()
	if err != nil {
		return nil, err
	}
	if credentials.Token != "" {
		return &token{text: credentials.Token, given: true, issued: time.Now()}, nil
	}
	msg := authenticateMessage(credentials)
	reply, err := t.engine.Once(t.ctx, Request{Method: rpc.Authenticate, Message: msg, Progress: p})
	clear(msg)
	switch {
	case err == nil:
	case err.Sentinel == ErrAuthNotEnabled:
		return &token{}, nil
	default:
		if !err.Answered {
			err.Message = "authenticating: " + err.Text()
		}
		return nil, err
	}
	text, malformed := decodeToken(reply)
	if malformed != nil {
		return nil, Undecodable(rpc.Authenticate, malformed)
	}
	t.engine.observer.Authenticated()
	return &token{text: text, issued: time.Now()}, nil
}

func (t *tokens) takeUnsettled() *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok := t.unsettled
	t.unsettled = nil
	return tok
}

// ask calls Config.Credentials.
func (t *tokens) ask() (Credentials, *Error) {
	limit := t.engine.config.Timeout
	if limit == 0 {
		limit = credentialsTimeout
	}
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	credentials, err := t.source(ctx)
	if err != nil {
		return credentials, &Error{
			Op: rpc.Authenticate.Op, Code: transport.Unauthenticated, Message: err.Error(),
			Transient: true, Sentinel: ErrNoCredentials, Cause: err,
		}
	}
	if err := credentials.Check(); err != nil {
		return credentials, &Error{
			Op: rpc.Authenticate.Op, Code: transport.Unauthenticated, Message: "invalid credentials from Config.Credentials: " + err.Error(),
			Sentinel: ErrNoCredentials,
		}
	}
	return credentials, nil
}

// dropRejected reports whether a request that was sent with tok and failed with e may
// be sent again, because the server checked the token first and did nothing else. A
// token that is to blame is cleared, so that the next get waits for another one.
func (t *tokens) dropRejected(tok *token, e *Error) (resend bool) {
	if t == nil {
		tok = nil
	}
	resend, forget := e.blamesToken(tok)
	if forget {
		t.forget(tok)
	}
	return resend
}

func (t *tokens) forget(tok *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.current.CompareAndSwap(tok, nil):
	case tok.given:
		t.spurnLocked(tok)
	case time.Since(tok.issued) < tokenIsNew && !tok.datesItself():
		t.unsettled = &token{text: tok.text}
	}
}

// spurnLocked records that the server rejected a token of Config.Credentials. If
// the server never accepted it, nor the one before it, Config.Credentials is called
// again only after a pause.
func (t *tokens) spurnLocked(tok *token) {
	if time.Since(tok.issued) >= tokenIsNew {
		t.useless, t.refusals = 0, 0
		return
	}
	t.useless++
	if t.useless > 1 {
		t.refuseLocked(&Error{
			Op: rpc.Authenticate.Op, Code: transport.Unauthenticated, Sentinel: ErrInvalidAuthToken,
			Message: "the server rejects the tokens that Config.Credentials returns",
		})
	}
}

// close cancels a flight and waits for it.
func (t *tokens) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.routines.Wait()
}
