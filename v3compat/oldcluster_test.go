package v3compat

import "testing"

func TestReleases(t *testing.T) {
	for text, want := range map[string]release{"3.7.3": {3, 7}, "3.8.0-alpha.0": {3, 8}, "4.0.0+x": {4, 0}, "10.12.1": {10, 12}} {
		if got, err := parseRelease(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "3.7", "v3.7.1", "3.x.1", "..", "unknown"} {
		if got, err := parseRelease(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	own := release{3, 7}
	for found, old := range map[release]bool{{3, 7}: false, {3, 6}: false, {3, 5}: true, {2, 9}: true, {3, 8}: false, {4, 0}: false} {
		if found.before(own.previous()) != old {
			t.Errorf("%v is old for %v: %v", found, own, !old)
		}
	}
	if first := (release{4, 0}); (release{3, 9}).before(first.previous()) || !(release{2, 9}).before(first.previous()) {
		t.Error("before 4.0 comes 3.x")
	}
}
