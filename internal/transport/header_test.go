package transport

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// decodeAll decodes a block as a server would.
func decodeAll(t *testing.T, dec *hpack.Decoder, block []byte) map[string]string {
	t.Helper()
	fields, err := dec.DecodeFull(block)
	if err != nil {
		t.Fatalf("block %x: %v", block, err)
	}
	got := make(map[string]string)
	pseudo := true
	for _, f := range fields {
		if strings.HasPrefix(f.Name, ":") != pseudo {
			if pseudo = false; strings.HasPrefix(f.Name, ":") {
				t.Fatalf("%s comes behind the ordinary fields", f.Name)
			}
		}
		if _, twice := got[f.Name]; twice {
			t.Fatalf("%s comes twice", f.Name)
		}
		got[f.Name] = f.Value
	}
	return got
}

func expected(key blockKey, timeout time.Duration) map[string]string {
	m := map[string]string{
		":method": "POST", ":scheme": "http", ":path": key.path, ":authority": "peer:1",
		"content-type": "application/grpc", "te": "trailers", "user-agent": "agent", "client-api-version": clientAPIVersion,
	}
	if key.requireLeader {
		m["hasleader"] = "true"
	}
	if key.token != "" {
		m["token"] = key.token
	}
	if timeout > 0 {
		m["grpc-timeout"] = string(appendTimeout(nil, timeout))
	}
	return m
}

// Cached or not, every block decodes to its request, whatever insertions, table
// resets, size changes and tokens came before.
func TestHeaderEncoderAgainstADecoder(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		e := newHeaderEncoder("http", "peer:1", "agent")
		dec := hpack.NewDecoder(4096, nil)
		paths := []string{"/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn", "/etcdserverpb.Lease/LeaseGrant"}
		token := "first"
		cached := 0
		for i := range 1200 {
			switch rng.IntN(40) {
			case 0: // like etcd's simple tokens, or a JWT, or one that fits no table
				token = strings.Repeat("t", []int{20, 300, 1500, 2100, 5000}[rng.IntN(5)]) + strconv.Itoa(i)
			case 1:
				token = ""
			case 2:
				if i%7 == 0 {
					size := []uint32{0, 1, 64, 300, 1000, 4096, 1 << 16}[rng.IntN(7)]
					e.setTableSize(size)
					dec.SetAllowedMaxDynamicTableSize(size)
				}
			case 3:
				paths[rng.IntN(4)] = "/path/" + strconv.Itoa(rng.IntN(1000))
			}
			key := blockKey{path: paths[rng.IntN(len(paths))], token: token, requireLeader: rng.IntN(2) == 0}
			timeout := time.Duration(rng.IntN(2)) * time.Duration(rng.Int64N(int64(time.Hour)))
			if e.cached(&key) != nil {
				cached++
			}
			got := decodeAll(t, dec, e.append(nil, key, timeout))
			if want := expected(key, timeout); !maps.Equal(got, want) {
				t.Fatalf("seed %d, request %d: got %v\nwant %v", seed, i, got, want)
			}
		}
		if cached == 0 {
			t.Error("no block was ever cached")
		}
	}
}

// A block that does not change is a few bytes and costs no encoding.
func TestHeaderBlockIsCached(t *testing.T) {
	e := newHeaderEncoder("http", "peer:1", "agent")
	key := blockKey{path: "/etcdserverpb.KV/Range", token: strings.Repeat("t", 60), requireLeader: true}
	for range 2 {
		e.append(nil, key, 0)
	}
	if n := len(e.append(nil, key, 0)); n > 12 {
		t.Errorf("the third block takes %d bytes", n)
	}
	buf := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() { e.append(buf, key, time.Second) }); n > 0 {
		t.Errorf("a cached block costs %v allocations", n)
	}
}

// Tokens come and go for the life of a connection; what is kept of them is
// bounded, also of those that are too long for the table.
func TestHeaderEncoderForgetsTokens(t *testing.T) {
	for _, length := range []int{50, 3000} {
		e := newHeaderEncoder("http", "peer:1", "agent")
		dec := hpack.NewDecoder(4096, nil)
		for i := range 400 {
			key := blockKey{path: "/etcdserverpb.KV/Range", token: fmt.Sprint(strings.Repeat("t", length), i)}
			for range 2 {
				if got := decodeAll(t, dec, e.append(nil, key, 0)); got["token"] != key.token {
					t.Fatalf("token %d arrives as %q", i, got["token"])
				}
			}
		}
		if len(e.blocks) > maxBlocks || len(e.table) > maxHeaderTable/32 {
			t.Errorf("with tokens of %d bytes %d blocks and %d fields are kept", length, len(e.blocks), len(e.table))
		}
	}
}

func TestAppendTimeout(t *testing.T) {
	cases := []struct {
		d    time.Duration
		want string
	}{
		{1, "1u"}, {time.Microsecond, "1u"}, {time.Microsecond + 1, "2u"},
		{time.Second, "1000000u"},
		{99_999_999 * time.Microsecond, "99999999u"},
		{99_999_999*time.Microsecond + 1, "100000m"},
		{100 * time.Second, "100000m"},
		{99_999_999 * time.Millisecond, "99999999m"},
		{99_999_999*time.Millisecond + 1, "100000S"},
		{99_999_999 * time.Second, "99999999S"},
		{99_999_999*time.Second + 1, "1666667M"},
		{math.MaxInt64, "2562048H"},
	}
	for _, c := range cases {
		if got := string(appendTimeout(nil, c.d)); got != c.want {
			t.Errorf("%d ns: %s, want %s", c.d, got, c.want)
		}
	}
}

func TestPercentDecode(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "%20": " ", "a%2Fb%2fc": "a/b/c", "%E2%82%AC": "€",
		"%": "%", "%2": "%2", "%zz": "%zz", "%2%20": "%2 ", "100%": "100%", "%%20": "% ", "%00": "\x00",
		"%+1": "%+1", "%-1": "%-1", "%_1": "%_1",
	} {
		if got := percentDecode(in); got != want {
			t.Errorf("%q decodes to %q, want %q", in, got, want)
		}
	}
}

// The decoder's table lives on over blocks whose content nobody wants.
func TestHeaderDecoderBounds(t *testing.T) {
	d := newHeaderDecoder()
	h, err := d.decode(nil)
	if err != nil || h.grpcStatus != -1 || h.httpStatus != 0 {
		t.Errorf("empty block: %+v, %v", h, err)
	}
	if h.status() == nil {
		t.Error("no status counts as OK")
	}
}

// Known or not, every block says what the server has put into it, whatever came before.
func TestHeaderDecoderAgainstAnEncoder(t *testing.T) {
	known := 0
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		d := newHeaderDecoder()
		messages := []string{"", "a", "b"}
		for i := range 500 {
			switch rng.IntN(30) {
			case 0:
				messages[rng.IntN(3)] = strings.Repeat("m", rng.IntN(2000)) + strconv.Itoa(i)
			case 1:
				if i%5 == 0 {
					e.SetMaxDynamicTableSize([]uint32{0, 64, 300, 4096}[rng.IntN(4)])
				}
			}
			want := responseHeader{grpcStatus: -1}
			field := func(name, value string) {
				f := hpack.HeaderField{Name: name, Value: value, Sensitive: rng.IntN(100) == 0}
				if err := e.WriteField(f); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(2) == 0 {
				want.httpStatus, want.contentType = []int{200, 404, 503}[rng.IntN(3)], "application/grpc"
				field(":status", strconv.Itoa(want.httpStatus))
				field("content-type", want.contentType)
			}
			if rng.IntN(2) == 0 {
				want.grpcStatus, want.message = rng.IntN(4), messages[rng.IntN(3)]
				field("grpc-status", strconv.Itoa(want.grpcStatus))
				field("grpc-message", want.message)
			}
			if b := indexedBlock(block.Bytes()); b != 0 && (d.known[0].bytes == b || d.known[1].bytes == b) {
				known++
			}
			got, err := d.decode(block.Bytes())
			if err != nil || got != want {
				t.Fatalf("seed %d, block %d: %+v, %v; want %+v", seed, i, got, err, want)
			}
			block.Reset()
		}
	}
	if known < 100 {
		t.Errorf("%d blocks were known", known)
	}
}

// The blocks of ordinary answers are decoded once.
func TestOrdinaryAnswersAreKnown(t *testing.T) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	d := newHeaderDecoder()
	for i := range 4 {
		for _, fields := range [][]hpack.HeaderField{
			{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "application/grpc"}},
			{{Name: "grpc-status", Value: "0"}, {Name: "grpc-message", Value: ""}},
		} {
			block.Reset()
			for _, f := range fields {
				if err := e.WriteField(f); err != nil {
					t.Fatal(err)
				}
			}
			b := indexedBlock(block.Bytes())
			if is := b != 0 && (d.known[0].bytes == b || d.known[1].bytes == b); is != (i >= 2) {
				t.Errorf("answer %d: block %x is known: %v", i, block.Bytes(), is)
			}
			if _, err := d.decode(block.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A header of one request is readable by the peer and leaves no trace in the table.
func TestOwnHeaders(t *testing.T) {
	e := newHeaderEncoder("http", "peer:1", "agent")
	key := blockKey{path: "/etcdserverpb.KV/Range"}
	decoder := hpack.NewDecoder(4096, nil)
	var constant int
	for i, length := range []int{1, 126, 127, 128, 254, 255, 1000} {
		value := strings.Repeat("v", length)
		h := Header{Name: "traceparent", Value: value}
		b := e.append(nil, key, 0)
		if i < 3 {
			constant = len(b)
		} else if len(b) != constant {
			t.Errorf("the block of all requests takes %d bytes, and took %d", len(b), constant)
		}
		fields, err := decoder.DecodeFull(h.append(b))
		if err != nil {
			t.Fatal(err)
		}
		if last := fields[len(fields)-1]; last.Name != h.Name || last.Value != value || !last.Sensitive {
			t.Errorf("%d bytes came as %+v", length, last)
		}
	}
}
