package leaktest

import (
	"regexp"
	"slices"
	"strings"
)

var bubble = regexp.MustCompile(`synctest bubble \d+`)

// InBubble returns the stacks of the other goroutines in the caller's synctest bubble that
// run the code, as it stands in stacks.
func InBubble(code ...string) []string {
	own, others, _ := strings.Cut(stacks(), "\n\n")
	here := bubble.FindString(own) + "]"
	return slices.DeleteFunc(strings.Split(others, "\n\n"), func(stack string) bool {
		head, _, _ := strings.Cut(stack, "\n")
		return !strings.Contains(head, here) || !runs(stack, code)
	})
}
