package lua

import (
	"errors"
	"strings"
	"unicode"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// closedError is that a stream was closed by the script, or because the script ends.
type closedError string

func (e closedError) Error() string { return string(e) }

// failure returns nil, a text and a table with details to Lua: what every method does with an
// error. op is the method's name. All errors have the same details; only that of a history
// that was compacted has one more.
func failure(L *glua.LState, op string, err error) int {
	code, message := etcd.CodeUnknown, err.Error()
	endpoint, outcome, attempts := "", etcd.OutcomeNotSent, 0
	var failed *etcd.Error
	var refused *requestError
	_, closed := err.(closedError) //nolint:errorlint // it is never wrapped
	switch {
	case closed:
		code = etcd.CodeCanceled
	case errors.As(err, &failed):
		code, message = failed.Code, description(op, failed)
		endpoint, outcome, attempts = failed.Endpoint, failed.Outcome, failed.Attempts
	case errors.As(err, &refused):
		code = etcd.CodeInvalidArgument
	}
	details := record(
		member{"op", glua.LString(op)},
		member{"endpoint", glua.LString(endpoint)},
		member{"outcome", glua.LString(outcome.String())},
		member{"attempts", glua.LNumber(attempts)},
		member{"message", glua.LString(message)},
		member{"maybe_applied", glua.LBool(etcd.MaybeApplied(err))},
		member{"temporary", glua.LBool(etcd.Temporary(err))})
	var compacted *etcd.CompactedError
	if errors.As(err, &compacted) {
		code = etcd.CodeOutOfRange
		details.RawSetString("compact_revision", IntegerValue(compacted.Revision))
	}
	details.RawSetString("code", glua.LString(codeName(code)))

	text := "code = " + codeName(code) + " desc = " + message
	if closed {
		text = message
	}
	L.Push(glua.LNil)
	L.Push(glua.LString(text))
	L.Push(details)
	return 3
}

// description is the text of an error without the method and the endpoint, which are among
// the details. A refused request is named by its method op, as those are that do not reach
// the client.
func description(op string, e *etcd.Error) string {
	prefix := "etcd: " + e.Op
	if e.Endpoint != "" {
		prefix += " via " + e.Endpoint
		if e.Address != "" {
			prefix += " (" + e.Address + ")"
		}
	}
	text := strings.TrimPrefix(e.Error(), prefix+": ")
	if e.Outcome == etcd.OutcomeNotSent && errors.Is(e, etcd.ErrInvalidRequest) {
		return op + ": " + fieldsInLua(text)
	}
	return callInLua(text)
}

// codeName is a gRPC code as gRPC writes it, like NOT_FOUND.
func codeName(code etcd.Code) string {
	if code == etcd.CodeOK {
		return "OK"
	}
	if code == etcd.CodeCanceled {
		return "CANCELLED"
	}
	var name strings.Builder
	for i, r := range code.String() {
		if i > 0 && unicode.IsUpper(r) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(r))
	}
	return name.String()
}
