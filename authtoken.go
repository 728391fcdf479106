package etcd

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tokens keeps the one token that all connections of a client share. It is
// obtained when first needed, and anew when the server rejects it, each time by
// one goroutine for whom everybody else waits. A nil *tokens is a client without
// credentials.
type tokens struct {
	c        *Client
	source   func(context.Context) (Credentials, error)
	fixed    bool            // source always returns the same
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup

	// current is nil until there is a token, and after it was rejected. It is
	// written with mu held.
	current atomic.Pointer[token]

	mu     sync.Mutex // guards the fields below
	closed bool
	flight *authFlight // under way
	// refused is why the last flight failed when asking again at once would be
	// of no use: it is the answer until refusedUntil.
	refused      *Error
	refusedUntil time.Time
	refusals     int // in a row
	// unsettled is a new token that a member has rejected; it is tried once more.
	unsettled *token
	// useless counts tokens of Config.Credentials, in a row, that the server has
	// rejected as soon as it saw them.
	useless int
}

// token is what calls carry. The empty one is that of a cluster in which
// authentication is off.
type token struct {
	text string
	// given: Config.Credentials has issued it, and not the server.
	given bool
	// issued is when it was obtained; zero if that does not matter.
	issued time.Time
}

// value is the text as transport.Request wants it.
func (t *token) value() string {
	if t == nil {
		return ""
	}
	return t.text
}

// datesItself: the token holds the revision of the users and roles, so that it
// is of no use once these have changed. JWTs do, simple tokens do not.
func (t *token) datesItself() bool { return strings.Count(t.text, ".") == 2 }

// authFlight is an attempt to obtain a token. The fields but done are set before
// that is closed.
type authFlight struct {
	done  chan struct{}
	token *token
	err   *Error
}

const (
	// While the server refuses the credentials it is asked again after pauses
	// between these: checking a password costs it a tenth of a second of CPU.
	refusalFirst = 200 * time.Millisecond
	refusalCap   = 5 * time.Second
	// A member that is behind the others may reject a token because it does not
	// know it yet: etcd 3.6 and 3.7 write an index into simple tokens up to which
	// a member has to be, but it is that of the entry before. So one that is
	// rejected this soon is tried again, after a pause.
	tokenIsNew   = time.Second
	tokenSettles = 25 * time.Millisecond
)

func newTokens(c *Client, config *Config) *tokens {
	source, isFixed := config.Credentials, config.Username != ""
	if isFixed {
		fixed := Credentials{Username: config.Username, Password: config.Password}
		source = func(context.Context) (Credentials, error) { return fixed, nil }
	}
	if source == nil {
		return nil
	}
	t := &tokens{c: c, source: source, fixed: isFixed}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// get returns the token, waiting for one if need be. Its error is one of a
// request of r that was not sent.
func (t *tokens) get(ctx context.Context, r *rpc) (*token, *Error) {
	if t == nil || r.anonymous {
		return nil, nil
	}
	if tok := t.current.Load(); tok != nil {
		return tok, nil
	}
	return t.wait(ctx, r)
}

// mayChange: the credentials may be others the next time.
func (t *tokens) mayChange() bool { return t != nil && !t.fixed }

// peek returns the token if there is one.
func (t *tokens) peek() *token {
	if t == nil {
		return nil
	}
	return t.current.Load()
}

func (t *tokens) wait(ctx context.Context, r *rpc) (*token, *Error) {
	f := t.join()
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, &Error{
			Op: r.op, Code: codeOfContext(ctx), Outcome: NotSent, write: r.class != read,
			Message: "waiting to be authenticated: " + ctx.Err().Error(), cause: ctx.Err(),
		}
	}
	if f.err == nil {
		return f.token, nil
	}
	e := *f.err // each caller's own
	e.Op, e.Outcome, e.write = r.op, NotSent, r.class != read
	return nil, &e
}

// join returns the flight under way, or starts one.
func (t *tokens) join() *authFlight {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != nil {
		return t.flight
	}
	f := &authFlight{done: make(chan struct{})}
	tok := t.current.Load()
	switch {
	case t.closed:
		f.err = clientClosed(rpcAuthenticate.op)
	case tok != nil: // it came while we took the lock
		f.token = tok
	case t.refused != nil && time.Now().Before(t.refusedUntil):
		f.err = t.refused
	default:
		t.flight = f
		t.routines.Go(func() { t.fly(f) })
		return f
	}
	close(f.done)
	return f
}

// fly is the goroutine of one flight.
func (t *tokens) fly(f *authFlight) {
	tok, err := t.obtain()
	t.mu.Lock()
	switch {
	case t.closed:
		tok, err = nil, clientClosed(rpcAuthenticate.op)
	case err == nil:
		t.current.Store(tok)
		if !tok.given { // of which it is not known yet whether it is of use
			t.refused, t.refusals = nil, 0
		}
	case err.answered && !err.transient || err.Code == CodeUnauthenticated:
		t.refuseLocked(err)
	}
	t.flight = nil
	t.mu.Unlock()
	f.token, f.err = tok, err
	close(f.done)
}

// refuseLocked makes err the answer for a while, for longer each time.
func (t *tokens) refuseLocked(err *Error) {
	pause := min(refusalFirst<<min(t.refusals, 10), refusalCap)
	t.refused, t.refusedUntil = err, time.Now().Add(jitter(pause, pause/5))
	t.refusals++
}

// obtain gets the credentials and exchanges them for a token.
func (t *tokens) obtain() (*token, *Error) {
	if tok := t.takeUnsettled(); tok != nil {
		sleep(t.ctx, tokenSettles)
		return tok, nil
	}
	credentials, err := t.ask()
	if err != nil {
		return nil, err
	}
	if credentials.Token != "" {
		return &token{text: credentials.Token, given: true, issued: time.Now()}, nil
	}
	msg := (&authenticateRequest{Name: credentials.Username, Password: credentials.Password}).appendWire(nil)
	reply, err := t.c.attempt(t.ctx, &rpcAuthenticate, msg)
	clear(msg)
	switch {
	case err == nil:
	case err.sentinel == ErrAuthNotEnabled:
		return &token{}, nil
	default:
		if !err.answered {
			err.Message = "authenticating: " + err.text()
		}
		return nil, err
	}
	var resp AuthenticateResponse
	if err := resp.decodeWire(reply); err != nil {
		return nil, &Error{Op: rpcAuthenticate.op, Code: CodeInternal, Message: "the answer to Authenticate cannot be decoded: " + err.Error(), cause: err}
	}
	t.c.observer.authentications.Add(1)
	return &token{text: strings.Clone(resp.Token), issued: time.Now()}, nil
}

func (t *tokens) takeUnsettled() *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok := t.unsettled
	t.unsettled = nil
	return tok
}

// ask asks for the credentials.
func (t *tokens) ask() (Credentials, *Error) {
	limit := t.c.timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	credentials, err := t.source(ctx)
	if err != nil {
		return credentials, &Error{
			Op: rpcAuthenticate.op, Code: CodeUnauthenticated, Message: "Config.Credentials failed: " + err.Error(),
			transient: true, sentinel: ErrNoCredentials, cause: err,
		}
	}
	if err := credentials.check(); err != nil {
		return credentials, &Error{
			Op: rpcAuthenticate.op, Code: CodeUnauthenticated, Message: "what Config.Credentials returned: " + err.Error(),
			sentinel: ErrNoCredentials,
		}
	}
	return credentials, nil
}

// rejected reports whether a request that was sent with tok and ended with e may
// be sent again: the server has looked at the token before anything else and did
// nothing. A token that is to blame is forgotten, so that the next get waits for
// another.
func (t *tokens) rejected(tok *token, e *Error) bool {
	switch {
	case t == nil || tok == nil:
		return e.Message == textOldAuthRevision // the certificate's user, read again
	case e.Message == textOldAuthRevision && tok.text != "" && !tok.datesItself():
		return true
	case e.reauth, tok.text == "" && e.sentinel == ErrPermissionDenied:
		// Without a token when authentication has been switched on, one is taken
		// for nobody, or for whom the client's certificate names.
		t.forget(tok)
		return true
	}
	return false
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

// spurnLocked notes that the server has rejected a token of Config.Credentials.
// When that was of no use from the beginning, and the one before it neither, the
// next one is asked for after a pause.
func (t *tokens) spurnLocked(tok *token) {
	if time.Since(tok.issued) >= tokenIsNew {
		t.useless, t.refusals = 0, 0
		return
	}
	t.useless++
	if t.useless > 1 {
		t.refuseLocked(&Error{
			Op: rpcAuthenticate.op, Code: CodeUnauthenticated, sentinel: ErrInvalidAuthToken,
			Message: "the server rejects the tokens that Config.Credentials returns",
		})
	}
}

// close ends a flight and waits for it.
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
