// Package balance owns the endpoints of a client: it connects to them when they
// are needed, remembers which have failed, and chooses one for each call. It
// knows connections, not messages.
//
// A [Set] has one lock, Set.mu, never held while dialing or waiting. The choice
// of a connection that is up takes no lock. Dials run in goroutines of their
// own, so that many callers share one and each waits only as long as its own
// context; Close cancels them and waits.
package balance
