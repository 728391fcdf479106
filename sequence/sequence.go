package sequence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"silly.store/etcd"
)

var (
	// ErrReset: the sequence's key was deleted or restored from a backup, and numbers
	// that were handed out may repeat.
	ErrReset = errors.New("the sequence was reset: its key was deleted or restored")
	// ErrConfigMismatch: the sequence was started with a different Config.Block, or the
	// key holds something else.
	ErrConfigMismatch = errors.New("the sequence was started with a different block size")
)

// MaxBlock is the largest Config.Block.
const MaxBlock = 1 << 20

const defaultBlock = 100

// Config configures a [Sequence].
type Config struct {
	// Name is the sequence's key. It is required.
	Name string
	// Block is the number of numbers per request, and so how many may be lost when a
	// program ends. It must be the same in all programs that use the sequence. The zero
	// value means 100; the maximum is MaxBlock. With 1, each number takes a request.
	Block int
}

// Sequence hands out unique numbers. It is safe for concurrent use, and needs no Close.
type Sequence struct {
	client *etcd.Client
	config Config

	// refilling is held by the caller that takes a block for all.
	refilling chan struct{}

	// mu guards the fields below.
	mu      sync.Mutex
	next    int64 // the next number,
	end     int64 // unless it is this one
	created int64 // the key's create revision, 0 before the first block
	blocks  int64 // how many blocks were taken up to the last of this Sequence
	broken  error // ErrReset, from the first time on
}

// New returns the sequence of that name. It makes no request.
//
// Errors: etcd.ErrInvalidRequest.
func New(c *etcd.Client, config Config) (*Sequence, error) {
	switch {
	case c == nil:
		return nil, invalid("the client is nil")
	case config.Name == "":
		return nil, invalid("Config.Name is empty; it is the key that counts")
	case config.Block < 0 || config.Block > MaxBlock:
		return nil, invalid("Config.Block is %d; use 1 to %d, or 0 for %d", config.Block, MaxBlock, defaultBlock)
	case config.Block == 0:
		config.Block = defaultBlock
	}
	return &Sequence{client: c, config: config, refilling: make(chan struct{}, 1)}, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("sequence: %w: %s", etcd.ErrInvalidRequest, fmt.Sprintf(format, args...))
}

func errNilContext(method string) error {
	return invalid("%s: the context is nil; use context.Background() if there is none", method)
}

// Next returns a number that no other caller gets; the first one is 1. It makes a
// request when the block is used up, or waits for that of another caller.
//
// The request is repeated when it fails, even if it may have been applied: that may
// lose a block of numbers, but repeats none.
//
// Errors: ErrReset, ErrConfigMismatch, etcd.ErrInvalidRequest if ctx is nil, and those of etcd's Txn. ctx bounds the wait.
//
// etcd: KV/Txn (since 3.3)
func (s *Sequence) Next(ctx context.Context) (int64, error) {
	if ctx == nil {
		return 0, errNilContext("Next")
	}
	for {
		if n, ok, err := s.take(); ok || err != nil {
			return n, err
		}
		select {
		case s.refilling <- struct{}{}:
		case <-ctx.Done():
			return 0, fmt.Errorf("sequence %q: waiting for a block: %w", s.config.Name, context.Cause(ctx))
		}
		err := s.refill(ctx)
		<-s.refilling
		if err != nil {
			return 0, fmt.Errorf("sequence %q: %w", s.config.Name, err)
		}
	}
}

// take takes a number of the present block, if there is one.
func (s *Sequence) take() (n int64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, false, s.broken
	}
	if s.next == s.end {
		return 0, false, nil
	}
	n = s.next
	s.next++
	return n, true, nil
}

// refill takes a block, unless another caller has just done so.
func (s *Sequence) refill(ctx context.Context) error {
	s.mu.Lock()
	filled := s.next != s.end || s.broken != nil
	s.mu.Unlock()
	if filled {
		return nil
	}
	taken, created, err := s.takeBlock(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.created != 0 && (created != s.created || taken < s.blocks) {
		s.broken = fmt.Errorf("sequence %q: %w", s.config.Name, ErrReset)
		return nil
	}
	s.created, s.blocks = created, taken+1
	block := int64(s.config.Block)
	s.next, s.end = taken*block+1, (taken+1)*block+1
	return nil
}

// takeBlock makes the request. taken is how many blocks were taken before, since the key
// was created at the revision created.
func (s *Sequence) takeBlock(ctx context.Context) (taken, created int64, err error) {
	key, size := s.config.Name, []byte(strconv.Itoa(s.config.Block))
	begin := etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing(key)},
		Then: []etcd.Op{etcd.PutRequest{Key: key, Value: size}},
		Else: []etcd.Op{etcd.GetRequest{Key: key}},
	}
	resp, err := s.client.Txn(etcd.WithRetryWrites(ctx, etcd.AtLeastOnce), etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareValue(key, etcd.Equal, size)},
		Then: []etcd.Op{etcd.PutRequest{Key: key, Value: size, PrevKV: true}},
		Else: []etcd.Op{begin},
	})
	if err != nil {
		return 0, 0, err
	}
	if resp.Succeeded {
		before := resp.Responses[0].Put.PrevKV
		return before.Version, before.CreateRevision, nil
	}
	if begun := resp.Responses[0].Txn; !begun.Succeeded {
		kv, _ := begun.Responses[0].Get.First()
		return 0, 0, fmt.Errorf("%w: its key holds %.20q, Config.Block is %d", ErrConfigMismatch, kv.Value, s.config.Block)
	}
	return 0, resp.Header.Revision, nil
}
