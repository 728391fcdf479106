package check

import (
	"slices"
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// refusals is I12.
func refusals(r *history.Run, _ *truth, f *Finding) {
	var reasons []string
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Refusal != "" && !slices.Contains(reasons, c.Refusal) {
			reasons = append(reasons, c.Refusal)
		}
	}
	reported := 0
	for i := range r.Calls {
		c := &r.Calls[i]
		f.Checked++
		if c.Refusal != "" && c.Fate == history.Done {
			f.broken(c.Ended, "%s of %q succeeded but must be refused: %s", c.Kind, c.Key, c.Refusal)
		}
		for _, reason := range reasons {
			if !strings.Contains(c.Error, reason) {
				continue
			}
			reported++
			if reason != c.Refusal {
				f.broken(c.Ended, "%s of %q was refused for another call's reason: %s", c.Kind, c.Key, c.Error)
			}
		}
	}
	if reported == 0 {
		f.broken(0, "nothing was refused")
	}
}
