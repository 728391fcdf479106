package call

import (
	"errors"
	"slices"
	"strings"
)

// Join is errors.Join with a text of one line, in which no error repeats what another one says.
// An error that is nil is left out; all nil: nil.
func Join(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

type joined []error

func (j joined) Error() string {
	var said []string
	for _, err := range j {
		text := err.Error()
		if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, text) }) {
			continue
		}
		said = slices.DeleteFunc(said, func(s string) bool { return strings.Contains(text, s) })
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

func (j joined) Unwrap() []error { return j }

// Unsettled is err, of a write of unknown outcome, without the errors that say that nothing was
// applied: they came with the end of the context, as its cause, and errors.Is does not find
// them. The text says them all.
func Unsettled(err error, nothing ...error) error {
	for _, not := range nothing {
		if errors.Is(err, not) {
			return &unsettled{err, nothing}
		}
	}
	return err
}

type unsettled struct {
	err     error
	nothing []error
}

func (e *unsettled) Error() string { return e.err.Error() }

// MaybeApplied has etcd.MaybeApplied say so: there is no Unwrap that it could follow.
func (e *unsettled) MaybeApplied() bool { return true }

// Is finds what err has, but for those errors.
func (e *unsettled) Is(target error) bool {
	return !slices.ContainsFunc(e.nothing, func(not error) bool { return errors.Is(target, not) }) && errors.Is(e.err, target)
}

func (e *unsettled) As(target any) bool { return errors.As(e.err, target) }
