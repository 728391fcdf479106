package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"
)

func TestVarint(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift | 1, math.MaxUint64 >> shift} {
			b := AppendVarint([]byte("x"), v)[1:]
			if len(b) != SizeVarint(v) {
				t.Errorf("SizeVarint(%#x) = %d, encoded in %d bytes", v, SizeVarint(v), len(b))
			}
			if want := binary.AppendUvarint(nil, v); !bytes.Equal(b, want) {
				t.Errorf("%#x encoded as %x, want %x", v, b, want)
			}
			if got, n := Varint(append(b, 0xff), 0); got != v || n != len(b) {
				t.Errorf("Varint(%x) = %#x, %d, want %#x, %d", b, got, n, v, len(b))
			}
		}
	}
}

func TestBadVarint(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want error
	}{
		{"", ErrTruncated},
		{"\x80", ErrTruncated},
		{strings.Repeat("\xff", 9), ErrTruncated},
		{strings.Repeat("\xff", 9) + "\x02", ErrOverflow},
		{strings.Repeat("\x80", 9) + "\x80", ErrOverflow},
		{strings.Repeat("\x80", 10) + "\x00", ErrOverflow},
	} {
		if _, n := Varint([]byte(tt.in), 0); n >= 0 || Error(n) != tt.want {
			t.Errorf("Varint(%x) = %d, want the code of %v", tt.in, n, tt.want)
		}
	}
	// At an offset, at the end, and behind it.
	if v, n := Varint([]byte("\x01\xac\x02"), 1); v != 300 || n != 3 {
		t.Errorf("at 1: %d, ends at %d", v, n)
	}
	for _, i := range []int{3, 4} {
		if _, n := Varint([]byte("\x01\xac\x02"), i); n >= 0 || Error(n) != ErrTruncated {
			t.Errorf("at %d: %d, want truncated", i, n)
		}
	}
	// Longer than needed, but within ten bytes.
	if v, n := Varint([]byte("\x81\x80\x80\x00"), 0); v != 1 || n != 4 {
		t.Errorf("overlong 1 = %d, %d bytes", v, n)
	}
	if v, n := Varint([]byte(strings.Repeat("\xff", 9)+"\x01"), 0); v != math.MaxUint64 || n != 10 {
		t.Errorf("largest = %#x, %d bytes", v, n)
	}
}

func TestBytes(t *testing.T) {
	b := AppendString(AppendBytes(nil, []byte("abc")), "def")
	v, n := Bytes(b, 0)
	if string(v) != "abc" || n != 4 || n != SizeBytes(3) {
		t.Fatalf("Bytes = %q, %d", v, n)
	}
	if cap(v) != len(v) {
		t.Errorf("capacity is %d, an append would overwrite what follows", cap(v))
	}
	if unsafe.SliceData(v) != &b[1] {
		t.Error("Bytes copied")
	}
	if s := String(v); s != "abc" || unsafe.StringData(s) != &b[1] {
		t.Error("String copied")
	}
	if s := String(nil); s != "" {
		t.Errorf("String(nil) = %q", s)
	}
	for _, in := range []string{"", "\x01", "\x03ab", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"} {
		if _, n := Bytes([]byte(in), 0); n >= 0 || Error(n) != ErrTruncated {
			t.Errorf("Bytes(%x) = %d, want truncated", in, n)
		}
	}
}

// group returns a group of field 1 that holds inner.
func group(inner string) string { return "\x0b" + inner + "\x0c" }

func TestSkip(t *testing.T) {
	nested := func(n int) string {
		return strings.Repeat("\x0b", n) + strings.Repeat("\x0c", n)
	}
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"varint", "\x08\xff\x01", nil},
		{"fixed64", "\x0912345678", nil},
		{"bytes", "\x0a\x02ab", nil},
		{"fixed32", "\x0d1234", nil},
		{"group", group("\x08\x01" + group("") + "\x12\x01a"), nil},
		{"largest field", "\xf8\xff\xff\xff\x0f\x01", nil},
		{"deepest group", nested(MaxDepth), nil},
		{"truncated varint", "\x08\x80", ErrTruncated},
		{"truncated fixed64", "\x091234567", ErrTruncated},
		{"truncated bytes", "\x0a\x02a", ErrTruncated},
		{"truncated fixed32", "\x0d123", ErrTruncated},
		{"group without end", "\x0b\x08\x01", ErrTruncated},
		{"overflow in group", "\x0b\x08" + strings.Repeat("\xff", 10), ErrOverflow},
		{"end without group", "\x0c", ErrGroup},
		{"end of another group", "\x0b\x14", ErrGroup},
		{"too deep", nested(MaxDepth + 1), ErrDepth},
		{"field 0", "\x00\x01", ErrFieldNumber},
		{"field too large", "\x80\x80\x80\x80\x10\x01", ErrFieldNumber},
		{"wire type 6", "\x0e", ErrWireType},
		{"wire type 7", "\x0f", ErrWireType},
	} {
		b := []byte(tt.in)
		tag, i := Varint(b, 0)
		got := Skip(tag, b, i)
		switch {
		case tt.want == nil && got != len(b):
			t.Errorf("%s: ends at %d, want %d", tt.name, got, len(b))
		case tt.want != nil && (got >= 0 || Error(got) != tt.want):
			t.Errorf("%s: %d, want the code of %v", tt.name, got, tt.want)
		}
	}
}

func TestErrorsAreDistinct(t *testing.T) {
	all := []error{ErrTruncated, ErrOverflow, ErrFieldNumber, ErrWireType, ErrGroup, ErrDepth}
	for i, a := range all {
		if got := Error(-1 - i); got != a {
			t.Errorf("Error(%d) = %v, want %v", -1-i, got, a)
		}
		for _, b := range all[:i] {
			if errors.Is(a, b) {
				t.Errorf("%v is %v", a, b)
			}
		}
	}
}

func TestCount(t *testing.T) {
	b := []byte("\x12\x01a" + "\x08\x05" + "\x12\x00" + "\x10\x01" + "\x0b\x12\x00\x0c" + "\x12\x02bc")
	if got := Count(b, 0, 2); got != 3 {
		t.Errorf("Count = %d, want 3", got)
	}
	for cut := range len(b) {
		if got := Count(b[:cut], 0, 2); got > 2 {
			t.Errorf("Count of %d bytes = %d, the last is not complete", cut, got)
		}
	}
	if got := Count([]byte("\x12\x00\x0f\x12\x00"), 0, 2); got != 1 {
		t.Errorf("Count counted %d, past the error", got)
	}
	b = AppendTag(nil, 1000, TypeBytes)
	if got := Count(AppendString(b, "x"), 0, 1000); got != 1 {
		t.Errorf("Count of a large number = %d, want 1", got)
	}
}

// TestAhead has lists that end before, at and after the elements that Ahead loads.
func TestAhead(t *testing.T) {
	for n := range 3 * AheadEvery {
		b := bytes.Repeat([]byte("\x01x"), n)
		for i := 0; i <= len(b); i += 2 {
			want := byte(0)
			if i+2*AheadEvery < len(b) {
				want = 1
			}
			if got := Ahead(b, i, 2); got != want {
				t.Fatalf("Ahead at %d of %d bytes = %d, want %d", i, len(b), got, want)
			}
		}
	}
}

func TestCountNested(t *testing.T) {
	elem := func(inner string) string { return "\x12" + string(rune(len(inner))) + inner }
	rest := elem("\x0a\x01a\x1a\x00") + "\x08\x05" + elem("") + elem("\x1a\x00\x1a\x00\x22\x00") + "\x1a\x00"
	var sub [4]int
	if got := CountNested([]byte("\x0a\x00\x08\x01"), []byte(rest), 0, 2, sub[:]); got != 4 {
		t.Errorf("CountNested = %d, want 4", got)
	}
	if want := [4]int{0, 2, 0, 3}; sub != want {
		t.Errorf("below: %v, want %v", sub, want)
	}
	sub = [4]int{}
	if got := CountNested([]byte("\x0a\x05"), []byte(elem("")+"\x12\x05"), 0, 2, sub[:]); got != 2 || sub[1] != 0 {
		t.Errorf("CountNested of malformed input = %d, %v", got, sub)
	}
}

func FuzzVarint(f *testing.F) {
	f.Add([]byte{0x80, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 11))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantN := binary.Uvarint(b)
		got, n := Varint(b, 0)
		switch {
		case wantN > 0 && (got != want || n != wantN):
			t.Errorf("Varint = %d, %d, want %d, %d", got, n, want, wantN)
		case wantN == 0 && len(b) < 10 && (n >= 0 || Error(n) != ErrTruncated):
			t.Errorf("Varint = %d bytes, want truncated", n)
		case (wantN < 0 || wantN == 0 && len(b) >= 10) && (n >= 0 || Error(n) != ErrOverflow):
			t.Errorf("Varint = %d bytes, want overflow", n)
		}
	})
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte(group("\x08\x01" + group("") + "\x12\x01a")))
	f.Add([]byte("\x12\x01a\x0912345678\x0d1234\x12\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// What Skip accepts ends inside the input, does not depend on
		// what follows, and holds no more than Count says.
		count := 0
		for i := 0; i < len(b); {
			tag, start := Varint(b, i)
			if start < 0 {
				break
			}
			end := Skip(tag, b, start)
			if end < 0 {
				if Error(end) == nil {
					t.Fatalf("no error for %d", end)
				}
				break
			}
			if end < start || end > len(b) {
				t.Fatalf("value at %d of %d bytes ends at %d", start, len(b), end)
			}
			if again := Skip(tag, b[:end:end], start); again != end {
				t.Fatalf("value ends at %d, then at %d", end, again)
			}
			i = end
			if tag == 2<<3|TypeBytes {
				count++
			}
		}
		if got := Count(b, 0, 2); got != count {
			t.Fatalf("Count = %d, want %d", got, count)
		}
		var sub [4]int
		if got := CountNested(nil, b, 0, 2, sub[:]); got != count+1 {
			t.Fatalf("CountNested = %d, want %d", got, count+1)
		}
	})
}
