package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// exclusions are the findings that do not apply here, each with its reason. The
// exception of a single line is a directive on that line. What has no file,
// message or source fits any.
var exclusions = exclusionList{
	{
		checks: "G115",
		reason: "the wire formats reinterpret integers: a varint is an int64 as a uint64. " +
			"Lengths are checked where they come in, and the codec is fuzzed against the official one",
	},
	{
		checks: "G404",
		reason: "random numbers spread load over time and members; none is a secret",
	},
	{
		checks: "G104",
		reason: "what is closed, killed or removed here is given up, and its error says nothing more",
	},
	{
		checks: "G122 G204 G301 G304 G306 G702 G703",
		files:  `_test\.go$|^(bench|conformance/suites|etcdtest|robustness|tools|lua/sillylua)/`,
		reason: "commands and tests open, write and run what their own flags and folders name, " +
			"and anybody may read their reports",
	},
	{
		checks: "G101 G103 G112 G402 G602",
		files:  `_test\.go$`,
		reason: "a test makes its own passwords and certificates and is its own peer",
	},
	{
		checks: "G402",
		files:  `^internal/transport/diagnose\.go$`,
		reason: "it asks only whether the server speaks TLS, and sends nothing",
	},
	{
		checks: "G103",
		files:  `^internal/transport/message\.go$`,
		reason: "the bytes of a builder that nobody else has, without clearing them first",
	},
	{
		checks: "G103",
		files:  `^internal/transport/nonblock(_queue)?_linux\.go$`,
		reason: "RawSyscall takes memory in no other form",
	},

	{
		checks: "errorlint",
		files:  `_test\.go$`,
		reason: "a test that compares with == wants that very error",
	},
	{
		checks: "errorlint",
		source: `io\.EOF`,
		reason: "a stream ends with io.EOF itself, as io.Reader demands",
	},
	{
		checks: "errorlint",
		source: `\b[sS]entinel\b`,
		reason: "the field holds one of the exported variables itself",
	},
	{
		checks: "errorlint",
		source: `\.\((\*causedError|transport\.Pending)\)`,
		reason: "inside the client these are returned as they are, never wrapped",
	},
	{
		checks: "errorlint",
		source: `cause := context\.Cause\(`,
		reason: "it asks whether a context has its own cause, not which kind it is",
	},

	{
		checks:  "exhaustive",
		message: `\bcode[A-Z]|\bframe[A-Z]|\btransport\.OK\b`,
		reason:  "gRPC's codes and HTTP/2's codes and frames are open sets: a switch names those that it treats apart",
	},
	{
		checks:  "exhaustive",
		message: `: (waits|OutcomeUnknown|MaybeSent|balance\.Unary|transport\.(Draining, transport\.)?Closed|transport\.Ready, transport\.Suspect)$`,
		reason:  "what follows the switch is its last case",
	},

	{
		checks: "contextcheck",
		files:  `_test\.go$|^(bench|etcdtest|robustness)/`,
		reason: "setting up and looking after must end when the run is interrupted, so it has time limits of its own",
	},
	{
		checks: "contextcheck",
		files:  `^v3compat/`,
		reason: "a stream and a kept lease live as long as their service, as in client/v3",
	},
	{
		checks: "contextcheck",
		files:  `^internal/peertest/`,
		reason: "the peer of a test knows a call's deadline and not its context, as a server does",
	},
	{
		checks: "nilerr",
		files:  `^internal/balance/addresses\.go$`,
		reason: "what has no port or is an address is dialed as it is",
	},
	{
		checks:  "contextcheck",
		message: "(^Function `|->)(write|quiet)`",
		reason:  "the log is the client's: most of its lines belong to no call",
	},
	{
		checks:  "contextcheck",
		message: "(^Function `|->)newServer->Restart`",
		reason:  "etcdtest gives a server its own limit to start",
	},
	{
		checks:  "contextcheck",
		message: "connectLocked\\$[0-9]+->run`",
		reason:  "a connection outlives the call that has it dialed",
	},
	{
		checks:  "contextcheck",
		message: "runFlight->obtain->ask`",
		reason:  "all waiting calls share the attempt to obtain a token",
	},
}

// An exclusion takes away what its checks find. files, message and source are
// regular expressions.
type exclusion struct {
	checks  string // analyzers, and rules of gosec's
	files   string // of the path from the root of the repository
	message string
	source  string // of the line; for a case also of its switch statement
	reason  string
	used    bool
}

type exclusionList []exclusion

// has says whether an exclusion takes the finding away.
func (es exclusionList) has(f finding) bool {
	has := false
	for i := range es {
		if e := &es[i]; e.fits(f) {
			e.used, has = true, true
		}
	}
	return has
}

func (e *exclusion) fits(f finding) bool {
	return slices.Contains(strings.Fields(e.checks), f.check) &&
		matches(e.files, f.file) && matches(e.message, f.message) && matches(e.source, f.source)
}

func matches(expression, text string) bool {
	return regexp.MustCompile(expression).MatchString(text)
}

// needless are the exclusions that have taken nothing away.
func (es exclusionList) needless() []finding {
	var found []finding
	for _, e := range es {
		if !e.used {
			found = append(found, finding{
				check:   "exclusion",
				file:    "tools/lint/exclusions.go",
				message: fmt.Sprintf("the exclusion of %s because %q excludes nothing", e.checks, e.reason),
			})
		}
	}
	return found
}
