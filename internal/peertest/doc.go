// Package peertest provides an in-memory cluster for tests. The connections of its
// members are [transport.Conn]s without a socket. It works inside and outside of a
// testing/synctest bubble.
//
// A test makes a [Cluster], passes [Cluster.Dial] to the code under test in place
// of transport.Dial, and sets for each [Member] how it answers calls, dials and
// streams. Messages are bytes, whose meaning is up to the test.
//
// The connections keep the promises of transport.Conn: late calls, suspicion,
// draining, and the errors and outcomes of calls that end without an answer.
//
// Only tests import it. It depends only on transport and wire, so that the internal
// tests of every package above them can use it.
package peertest
