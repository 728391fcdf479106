package mirror

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// Every Txn at the target compares the mod revision of the checkpoint's key and puts the
// checkpoint along with its data. A mod revision never comes back. So a Txn is applied at
// most once, however often it is sent, and a mirror that puts the checkpoint makes etcd
// refuse all Txns that another mirror has in flight.

// checkpoint is the progress of a mirror, as JSON.
type checkpoint struct {
	// Owner is of one run, at random: two mirrors may write the same otherwise.
	Owner string `json:"owner"`
	// Generation counts the owners.
	Generation int64 `json:"generation"`
	// Serial counts the Txns of an owner.
	Serial int64  `json:"serial"`
	Prefix string `json:"prefix"`
	Dest   string `json:"dest"`
	// Complete: the target has the source's state at Revision, and the first Done changes
	// of the revision after that. Otherwise the copy is under way.
	Complete bool   `json:"complete"`
	Revision int64  `json:"revision"`
	Done     int    `json:"done"`
	Term     uint64 `json:"term"`
	Keys     int64  `json:"keys"` // how many the source has at Revision
}

// stored is a checkpoint as its key has it. JSON has no place for bytes that are not UTF-8, so
// prefixes with such bytes are in base64 as well, and only such ones.
type stored struct {
	checkpoint
	PrefixBytes []byte `json:"prefix_bytes,omitempty"`
	DestBytes   []byte `json:"dest_bytes,omitempty"`
}

func (c *checkpoint) encode() []byte {
	s := stored{checkpoint: *c}
	if !utf8.ValidString(c.Prefix) {
		s.PrefixBytes = []byte(c.Prefix)
	}
	if !utf8.ValidString(c.Dest) {
		s.DestBytes = []byte(c.Dest)
	}
	b, err := json.Marshal(&s)
	if err != nil {
		panic(err) // the fields can all be written
	}
	return b
}

func (c *checkpoint) decode(value []byte) error {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return err
	}
	*c = s.checkpoint
	if s.PrefixBytes != nil {
		c.Prefix = string(s.PrefixBytes)
	}
	if s.DestBytes != nil {
		c.Dest = string(s.DestBytes)
	}
	return nil
}

// guard is the checkpoint of a run and what is known of its key.
type guard struct {
	target *etcd.Client
	wait   *wait // at the target
	key    string
	checkpoint
	mod int64 // the key's mod revision
}

// pauses spaces requests that fail.
var pauses = backoff.Backoff{First: 20 * time.Millisecond, Cap: time.Second}

// passing reports whether the same request may succeed later.
func passing(err error) bool { return etcd.Temporary(err) || etcd.MaybeApplied(err) }

// read reads the checkpoint; the zero one if there is none.
func (g *guard) read(ctx context.Context) (checkpoint, *etcd.GetResponse, error) {
	var found checkpoint
	g.wait.begin()
	resp, err := g.target.Get(ctx, etcd.GetRequest{Key: g.key})
	g.wait.end()
	if err != nil {
		return found, nil, err
	}
	if kv, ok := resp.First(); ok {
		if err := found.decode(kv.Value); err != nil {
			return found, nil, fmt.Errorf("mirror: the target's key %q holds no checkpoint: %w", g.key, err)
		}
	}
	return found, resp, nil
}

// claim makes the run the owner of the checkpoint, and goes on where the former one was.
func (g *guard) claim(ctx context.Context, config *Config) error {
	found, resp, err := g.read(ctx)
	if err != nil {
		return err
	}
	kv, ok := resp.First()
	if ok && (found.Prefix != config.Prefix || found.Dest != config.DestPrefix) {
		return invalid("Config.Name: the mirror %q copies %q to %q; use another name", config.Name, found.Prefix, found.Dest)
	}
	g.checkpoint = found
	g.Prefix, g.Dest = config.Prefix, config.DestPrefix
	g.Owner, g.Serial = rand.Text(), 0
	g.Generation++
	g.mod = kv.ModRevision
	return g.put(ctx, nil, g.checkpoint)
}

// put applies operations and the checkpoint that follows from them, exactly once. It repeats
// a request that fails for a passing reason until ctx ends. After an error the checkpoint is
// what it was, and the operations may have been applied unless etcd has refused them.
func (g *guard) put(ctx context.Context, ops []etcd.Op, next checkpoint) error {
	next.Serial = g.Serial + 1
	value := next.encode()
	req := etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareModRevision(g.key, etcd.Equal, g.mod)},
		Then: append(ops[:len(ops):len(ops)], etcd.PutRequest{Key: g.key, Value: value}),
		Else: []etcd.Op{etcd.GetRequest{Key: g.key}},
	}
	g.wait.begin()
	defer g.wait.end()
	for failures := 0; ; failures++ {
		resp, err := g.target.Txn(call.WithCopies(ctx, failures), req)
		switch {
		case err == nil && resp.Succeeded:
			g.checkpoint, g.mod = next, resp.Header.Revision
			return nil
		case err == nil:
			kv, ok := resp.Responses[0].Get.First()
			if !ok || string(kv.Value) != string(value) {
				return g.explain(&kv)
			}
			g.checkpoint, g.mod = next, kv.ModRevision // an earlier copy was applied
			return nil
		case !passing(err):
			return err
		}
		if g.wait.failed(err); !call.Sleep(ctx, pauses.Jittered(failures)) {
			return err
		}
	}
}

// explain says what it means that the checkpoint is not what was expected.
func (g *guard) explain(kv *etcd.KeyValue) error {
	var found checkpoint
	if err := found.decode(kv.Value); err == nil && found.Owner != g.Owner && found.Generation >= g.Generation {
		return ErrSuperseded
	}
	return errMoved
}

// check finds out whether the checkpoint is still this run's. It repeats a read that fails for
// a passing reason until ctx ends.
func (g *guard) check(ctx context.Context) error {
	_, resp, err := g.read(ctx)
	for failures := 0; etcd.Temporary(err) && call.Sleep(ctx, pauses.Jittered(failures)); failures++ {
		_, resp, err = g.read(ctx)
	}
	if err != nil {
		return err
	}
	if kv, _ := resp.First(); kv.ModRevision != g.mod {
		return g.explain(&kv)
	}
	return nil
}

// meet reads the identities of both clusters, makes the guard, and refuses loops.
func (m *Mirror) meet(ctx context.Context, source, target *wait) (*guard, error) {
	defer source.end()
	source.begin()
	from, err := m.source.Get(ctx, etcd.GetRequest{Key: m.scopeKey(), CountOnly: true})
	source.end()
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	target.begin()
	to, err := m.target.Get(ctx, etcd.GetRequest{Key: m.config.Checkpoint, CountOnly: true})
	target.end()
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	key := m.checkpointKey(from.Header.ClusterID)
	if from.Header.ClusterID == to.Header.ClusterID {
		if err := m.loop(key); err != nil {
			return nil, err
		}
	}
	source.begin()
	if err := m.findReverse(ctx, to.Header.ClusterID); err != nil {
		return nil, err
	}
	return &guard{target: m.target, wait: target, key: key}, nil
}

// loop is why the mirror would copy what it has written, when both sides are one cluster; nil:
// it would not. The clients may be views, so only whole keys can be compared.
func (m *Mirror) loop(checkpoint string) error {
	source, target := m.source.Prefix()+m.config.Prefix, m.target.Prefix()+m.config.DestPrefix
	switch checkpoint = m.target.Prefix() + checkpoint; {
	case overlap(source, target):
		return fmt.Errorf("mirror: %q and %q are of one cluster: %w", source, target, ErrLoop)
	case strings.HasPrefix(checkpoint, source):
		return fmt.Errorf("mirror: the checkpoint %q is among the keys of the source, %q, in one cluster: %w", checkpoint, source, ErrLoop)
	}
	return nil
}

// scopeKey is a key that the mirror may read at the source.
func (m *Mirror) scopeKey() string {
	if m.config.Prefix == "" {
		return "\x00"
	}
	return m.config.Prefix
}

func (m *Mirror) checkpointKey(cluster uint64) string {
	return m.config.Checkpoint + "/" + m.config.Name + "/" + strconv.FormatUint(cluster, 16)
}

// findReverse looks for a mirror from the target to the source whose keys this one would copy
// back. It sees those with the same Config.Checkpoint, where the user may read them.
func (m *Mirror) findReverse(ctx context.Context, target uint64) error {
	resp, err := m.source.Get(ctx, etcd.GetRequest{Key: m.config.Checkpoint + "/", Prefix: true})
	switch {
	case errors.Is(err, etcd.ErrPermissionDenied):
		return nil
	case err != nil:
		return fmt.Errorf("source: %w", err)
	}
	for i := range resp.KVs {
		kv := &resp.KVs[i]
		var other checkpoint
		if !strings.HasSuffix(kv.Key, "/"+strconv.FormatUint(target, 16)) || other.decode(kv.Value) != nil {
			continue
		}
		if overlap(other.Dest, m.config.Prefix) && overlap(other.Prefix, m.config.DestPrefix) {
			return fmt.Errorf("mirror: the source has the checkpoint %q of a mirror that comes from the target: %w", kv.Key, ErrLoop)
		}
	}
	return nil
}
