//go:build !codectest

package codec

import "testing"

func TestNeedsTag(t *testing.T) {
	t.Fatal("run with -tags codectest, as make test does")
}
