package etcd

import (
	"errors"
	"fmt"
	"testing"
)

// MaybeApplied of an error that holds several is that of any of them.
func TestMaybeAppliedOfSeveral(t *testing.T) {
	unknown := &Error{Op: "Put", write: true, sentinel: ErrUnavailable}
	rejected := &Error{Op: "Put", write: true, Outcome: OutcomeRejected, sentinel: ErrNoSpace}
	read := &Error{Op: "Get", sentinel: ErrUnavailable}
	var none *Error
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nil":               {nil, false},
		"a nil *Error":      {none, false},
		"no error of ours":  {errors.New("x"), false},
		"one":               {unknown, true},
		"wrapped":           {fmt.Errorf("save: %w", unknown), true},
		"rejected":          {rejected, false},
		"read":              {read, false},
		"joined, first":     {errors.Join(unknown, read), true},
		"joined, last":      {errors.Join(read, errors.New("x"), rejected, unknown), true},
		"joined, none":      {errors.Join(read, rejected), false},
		"joined and nested": {fmt.Errorf("%w and %w", read, errors.Join(rejected, fmt.Errorf("x: %w", unknown))), true},
		// Of what an error of ours was caused by it is not the verdict.
		"cause":             {&Error{Op: "Get", cause: unknown}, false},
		"batch":             {BatchResults{{}, {Err: read}, {Err: rejected}, {Err: unknown}}.Err(), true},
		"batch without any": {BatchResults{{}, {Err: read}, {Err: rejected}}.Err(), false},
	} {
		if got := MaybeApplied(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBatchErr(t *testing.T) {
	if err := (BatchResults)(nil).Err(); err != nil {
		t.Errorf("no operations: %v", err)
	}
	if err := (BatchResults{{}, {}}).Err(); err != nil {
		t.Errorf("all have succeeded: %v", err)
	}
	failed := func(i int) OpResult {
		return OpResult{Index: i, Err: &Error{Op: "Put", Message: fmt.Sprint("m", i), sentinel: ErrNoSpace}}
	}
	results := BatchResults{{}, failed(1), {Index: 2}, failed(3)}
	want := "etcd: 2 of 4 operations of the Batch failed: operation 1: etcd: Put: m1; operation 3: etcd: Put: m3"
	err := results.Err()
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	var e *Error
	if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrCompacted) || !errors.As(err, &e) || e.Message != "m1" {
		t.Errorf("%v: %+v", err, e)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 2 || joined.Unwrap()[1].Error() != "operation 3: etcd: Put: m3" {
		t.Errorf("%v unwraps to %+v", err, joined)
	}
	results = append(results, failed(4), failed(5), failed(6))
	want = "etcd: 5 of 7 operations of the Batch failed: operation 1: etcd: Put: m1; operation 3: etcd: Put: m3; operation 4: etcd: Put: m4; and 2 more"
	if err := results.Err(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
