package mirror

import (
	"log/slog"
	"strings"
	"time"

	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/duration"
)

// Config configures a [Mirror].
type Config struct {
	// Name distinguishes the mirrors of a target. It is required and must not contain
	// "/". A mirror that starts ends an earlier one with the same name and source.
	Name string
	// Prefix is the prefix of the source's keys to copy; empty means all keys.
	Prefix string
	// DestPrefix replaces Prefix in the target's keys; empty means Prefix. All other
	// keys of the target that begin with it are deleted.
	DestPrefix string
	// Checkpoint is the prefix of the key at the target that holds the mirror's progress,
	// <Checkpoint>/<Name>/<source cluster in hexadecimal>. Empty means "mirror".
	Checkpoint string
	// Verify is how often the target is compared with the source while Run copies, see
	// [Mirror.Verify]. 0 means never.
	Verify time.Duration
	// Logger logs copies that start again, comparisons that find differences, and
	// requests that fail. Keys are logged, values never. Nil means silence.
	Logger *slog.Logger
}

const defaultCheckpoint = "mirror"

// filled is the configuration with the meanings of its zeros.
func (c Config) filled() (Config, error) {
	switch {
	case c.Name == "":
		return c, invalid("Config.Name is empty")
	case strings.Contains(c.Name, "/"):
		return c, invalid("Config.Name has a slash: %q", c.Name)
	case strings.HasSuffix(c.Checkpoint, "/"):
		return c, invalid("Config.Checkpoint ends with a slash: %q; the slash is added", c.Checkpoint)
	case c.Verify < 0:
		return c, invalid("Config.Verify is %v; it must not be negative", c.Verify)
	case c.Logger != nil && c.Logger.Handler() == nil:
		return c, invalid("Config.Logger has no handler; make it with slog.New")
	}
	if err := duration.Check("Config.Verify", c.Verify); err != nil {
		return c, invalid("%v", err)
	}
	c.Logger = callback.Logger(c.Logger, nil)
	if c.DestPrefix == "" {
		c.DestPrefix = c.Prefix
	}
	if c.Checkpoint == "" {
		c.Checkpoint = defaultCheckpoint
	}
	return c, nil
}

// dest is the target's key for one of the source.
func (c *Config) dest(key string) string { return c.DestPrefix + key[len(c.Prefix):] }

// overlap reports whether there are keys with both prefixes.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
