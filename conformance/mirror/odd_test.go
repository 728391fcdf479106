package mirror

import (
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/mirror"
)

// Prefixes may hold any bytes, and what is before and behind them at the target stays.
func TestOddPrefixes(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	for _, p := range []struct{ from, to, behind string }{
		{name + "\x00", name + "\x00\x00", name + "\x00\x01"},
		{name + "nul\x00a", name + "b", name + "c"},
		{name + "end\xff", name + "x\xff", name + "y"},
		{name + "ends\xff\xff", name + "\xfe\xff\xff", name + "\xff"},
		{"\xff" + name, "\xff\xff" + name + "\xff", "\xff\xff" + name[:len(name)-1] + "\xff"},
		{"\xff\xff\xff", "\xff\xff\xff", "\xff\xff"}, // no key is behind it
		{"\x00", "\x00\x00", "\x01"},
	} {
		s := between(t)
		s.config.Prefix, s.config.DestPrefix = p.from, p.to
		for _, neighbour := range []string{p.behind, p.to[:len(p.to)-1] + string([]byte{p.to[len(p.to)-1] - 1}) + "\xff"} {
			if len(neighbour) < 2 && neighbour[0] == 0xff {
				continue
			}
			if _, err := s.dst.Put(testbed.Within(t, 20*time.Second), etcd.PutRequest{Key: neighbour, Value: []byte("neighbour")}); err != nil {
				t.Fatal(err)
			}
		}
		s.put("", "the prefix itself")
		s.put("\x00", "nul")
		s.put("\xff", "1")
		s.foreign("gone", "1")
		m, end := s.begin()
		s.reaches(m, s.put("\xff\xff", "2"))
		s.reaches(m, s.drop("\xff"))
		if got, want := s.has(), "=the prefix itself \x00=nul \xff\xff=2"; got != want {
			t.Errorf("%q to %q: %q, want %q", p.from, p.to, got, want)
		}
		s.equal(m)
		if kv, err := s.dst.Get(testbed.Within(t, 20*time.Second), etcd.GetRequest{Key: p.behind}); err != nil || string(kv.KVs[0].Value) != "neighbour" {
			t.Errorf("%q to %q: the neighbour %q has changed: %v, %v", p.from, p.to, p.behind, kv, err)
		}
		s.stopped(end)
		m, end = s.begin() // finds its checkpoint
		s.reaches(m, s.put("", "later"))
		s.stopped(end)
	}
}

// Whether two ranges of one cluster overlap depends on whole keys: views may give distinct
// keys one name, and one key two names.
func TestLoopsOfViews(t *testing.T) {
	t.Parallel()
	s := between(t)
	name := s.config.Name + "/"
	apart := *s
	apart.src, apart.dst = s.src.Namespace(name+"a/"), s.src.Namespace(name+"b/")
	apart.config.Prefix, apart.config.DestPrefix = "k/", "k/"
	m, end := apart.begin()
	apart.wantHas(m, apart.put("1", "1"), "1=1")
	apart.stopped(end)

	for about, loop := range map[string]struct {
		src, dst         *etcd.Client
		prefix, toPrefix string
		checkpoint       string
	}{
		"a view of what is read":   {s.src, s.src.Namespace(name + "a/"), name + "a/", "copy/", ""},
		"a view of what is put":    {s.src.Namespace(name + "a/"), s.src, "", name, ""},
		"one view":                 {apart.src, apart.src, "k/", "k/copy/", ""},
		"a view of a view, itself": {s.src.Namespace(name).Namespace("a/"), apart.src, "", "", ""},
		"the checkpoint":           {s.src, s.src, name + "a/", name + "b/", name + "a/checkpoints"},
		"a view's checkpoint":      {s.src, s.src.Namespace(name), name + "mirror/", "copy/", ""},
	} {
		m, err := mirror.New(loop.src, loop.dst, mirror.Config{Name: "loop", Prefix: loop.prefix, DestPrefix: loop.toPrefix, Checkpoint: loop.checkpoint})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(testbed.Within(t, 20*time.Second)); !errors.Is(err, mirror.ErrLoop) {
			t.Errorf("%s: %v", about, err)
		}
	}
}
