// Package faults has what each analyzer is there for.
package faults

import (
	"context"
	"errors"
	"os"
)

var errGone = errors.New("gone")

type state int

const (
	up state = iota
	down
)

func compares(err error) bool { return err == errGone } // errorlint

func forgets(s state) string {
	switch s { // exhaustive
	case up:
		return "up"
	}
	return ""
}

func swallows(file string) error {
	if _, err := os.Stat(file); err != nil {
		return nil // nilerr
	}
	return nil
}

func detaches(ctx context.Context) error { return ask(context.Background()) } // contextcheck

func ask(ctx context.Context) error { return ctx.Err() }

func opens(file string) (*os.File, error) { return os.Open(file) } // G304

func ends(p *int) int {
	if p == nil {
		return *p // nilness
	}
	return 0
}

type pair struct{ a, b int }

func writes() {
	for _, p := range []pair{{1, 2}} {
		p.a = 2 // unusedwrite
	}
}

func swallowsOnPurpose(file string) error {
	if _, err := os.Stat(file); err != nil {
		return nil //nolint:nilerr // the reason
	}
	return nil
}

func ignored(err error) bool {
	//nolint:errorlint // the reason
	return err == errGone
}

func ignoredWithoutReason(err error) bool {
	//nolint:errorlint
	return err == errGone // directive
}

//nolint:errorlint // it has been fixed since
func needless() {} // directive
