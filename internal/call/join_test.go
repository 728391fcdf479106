package call

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	one, two := errors.New("one"), errors.New("two")
	both := fmt.Errorf("%w, then %w", one, two)
	for want, errs := range map[string][]error{
		"one":           {nil, one, one},
		"one; two":      {one, two, nil, one},
		"one, then two": {one, both, two},
	} {
		err := Join(errs...)
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		for _, e := range errs {
			if e != nil && !errors.Is(err, e) {
				t.Errorf("%q has lost %q", err, e)
			}
		}
	}
	if err := Join(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	own := &Error{Op: "Txn", Write: true, Cause: &causedError{context.Canceled, fmt.Errorf("name: %w", lost)}}
	err := fmt.Errorf("lock: %w", Unsettled(own, lost))
	var found *Error
	if errors.Is(err, lost) || !errors.Is(err, context.Canceled) || !errors.As(err, &found) || found != own {
		t.Errorf("%v", err)
	}
	if err := Unsettled(own, errors.New("another")); err != error(own) { //nolint:errorlint // the identical one
		t.Errorf("without any of them: %v", err)
	}
}
