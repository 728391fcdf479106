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

// failure returns nil, a text and a table with details to Lua: what every function of the
// client does with an error.
func failure(L *glua.LState, err error) int {
	code, message := etcd.CodeUnknown, err.Error()
	details := L.CreateTable(0, 8)
	set := func(name string, value glua.LValue) { details.RawSetString(name, value) }

	var failed *etcd.Error
	var refused *requestError
	_, closed := err.(closedError) //nolint:errorlint // it is never wrapped
	switch {
	case closed:
		code = etcd.CodeCanceled
	case errors.As(err, &failed):
		code, message = failed.Code, description(failed)
		set("op", glua.LString(failed.Op))
		set("endpoint", glua.LString(failed.Endpoint))
		set("outcome", glua.LString(failed.Outcome.String()))
		set("attempts", glua.LNumber(failed.Attempts))
	case errors.As(err, &refused):
		code = etcd.CodeInvalidArgument
		set("op", glua.LString(refused.op))
		set("outcome", glua.LString(etcd.OutcomeNotSent.String()))
		set("attempts", glua.LNumber(0))
	}
	var compacted *etcd.CompactedError
	if errors.As(err, &compacted) {
		code = etcd.CodeOutOfRange
		set("compact_revision", IntegerValue(compacted.Revision))
	}
	set("code", glua.LString(codeName(code)))
	set("message", glua.LString(message))
	set("maybe_applied", glua.LBool(etcd.MaybeApplied(err)))
	set("temporary", glua.LBool(etcd.Temporary(err)))

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
// the details.
func description(e *etcd.Error) string {
	prefix := "etcd: " + e.Op
	if e.Endpoint != "" {
		prefix += " via " + e.Endpoint
		if e.Address != "" {
			prefix += " (" + e.Address + ")"
		}
	}
	return strings.TrimPrefix(e.Error(), prefix+": ")
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
