package etcd

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/quick"
)

func TestInterval(t *testing.T) {
	for _, test := range []struct {
		key             string
		prefix, fromKey bool
		rangeEnd        string
		first, end      string
	}{
		{key: "k", first: "k"},
		{key: "k", rangeEnd: "l", first: "k", end: "l"},
		{key: "k", rangeEnd: "k\x00", first: "k", end: "k\x00"},
		{key: "k", rangeEnd: "\x00", first: "k", end: "\x00"},
		{key: "k", prefix: true, first: "k", end: "l"},
		{key: "k\xff", prefix: true, first: "k\xff", end: "l"},
		{key: "\xff", prefix: true, first: "\xff", end: "\x00"},
		{key: "\x00", prefix: true, first: "\x00", end: "\x01"},
		{key: "k", fromKey: true, first: "k", end: "\x00"},
		{key: "k", rangeEnd: "k", first: "k", end: "k"}, // etcd answers empty ranges
		{key: "k", rangeEnd: "j", first: "k", end: "j"},
		{prefix: true, first: "\x00", end: "\x00"},
		{fromKey: true, first: "\x00", end: "\x00"},
	} {
		first, end, err := interval(test.key, test.prefix, test.fromKey, test.rangeEnd)
		if first != test.first || end != test.end || err != nil {
			t.Errorf("%+v: %q-%q, %v", test, first, end, err)
		}
	}
	for name, err := range map[string]error{
		"Key is empty":          intervalError("", false, false, ""),
		"Prefix and FromKey":    intervalError("k", true, true, ""),
		"Prefix and RangeEnd":   intervalError("k", true, false, "x"),
		"FromKey and RangeEnd":  intervalError("", false, true, "x"),
		"Key is empty; set Pre": intervalError("", false, false, "x"),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("error %v, want it to begin with %q", err, name)
		}
	}
}

// What etcd refuses when it is of an empty range is refused here, with the field.
func TestFilledInterval(t *testing.T) {
	for _, end := range []string{"k", "j", "jzz"} {
		_, _, err := filledInterval("k", false, false, end)
		if want := fmt.Sprintf(`RangeEnd %q is not above Key "k"`, end); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want it to begin with %q", err, want)
		}
	}
	for _, end := range []string{"", "\x00", "k\x00", "l"} {
		if first, got, err := filledInterval("k", false, false, end); first != "k" || got != end || err != nil {
			t.Errorf("%q-%q, %v", first, got, err)
		}
	}
	if _, _, err := filledInterval("", false, false, "x"); err == nil {
		t.Error("an empty key is taken")
	}
}

func intervalError(key string, prefix, fromKey bool, rangeEnd string) error {
	_, _, err := interval(key, prefix, fromKey, rangeEnd)
	return err
}

// inRange is how etcd reads a key and a range_end.
func inRange(key, first, end string) bool {
	switch end {
	case "":
		return key == first
	case "\x00":
		return key >= first
	}
	return key >= first && key < end
}

// prefixEnd bounds exactly the keys that begin with the prefix.
func TestPrefixEnd(t *testing.T) {
	check := func(prefix, key string) bool {
		if prefix == "" || key == "" {
			return true
		}
		first, end, err := interval(prefix, true, false, "")
		return err == nil && inRange(key, first, end) == strings.HasPrefix(key, prefix)
	}
	// Few different bytes, the edges among them, so that keys are near prefixes.
	bytes := "\x00\x01a\xfe\xff"
	random := func() string {
		b := make([]byte, rand.N(5))
		for i := range b {
			b[i] = bytes[rand.N(len(bytes))]
		}
		return string(b)
	}
	for range 200_000 {
		if prefix, key := random(), random(); !check(prefix, key) {
			t.Fatalf("prefix %q, key %q", prefix, key)
		}
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	if err := quick.Check(func(prefix, rest string) bool { return check(prefix, prefix+rest) }, nil); err != nil {
		t.Error(err)
	}
}

func FuzzPrefixEnd(f *testing.F) {
	f.Add("a", "ab")
	f.Add("\xff\xff", "\xff\xfe")
	f.Add("a\xff", "b")
	f.Fuzz(func(t *testing.T, prefix, key string) {
		if prefix == "" || key == "" {
			return
		}
		first, end, err := interval(prefix, true, false, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := inRange(key, first, end); got != strings.HasPrefix(key, prefix) {
			t.Errorf("prefix %q is %q-%q, and %q is in it: %v", prefix, first, end, key, got)
		}
	})
}
