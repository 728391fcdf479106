package v3compat

import (
	"context"
	"log/slog"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// useLogger makes the logger that config describes, for both clients. nil: it
// describes none, and clientv3.New has its own.
func useLogger(config *clientv3.Config) (*slog.Logger, error) {
	if config.Logger == nil && config.LogConfig != nil {
		var err error
		if config.Logger, err = config.LogConfig.Build(); err != nil {
			return nil, err
		}
	}
	if config.Logger == nil {
		return nil, nil
	}
	return slog.New(zapHandler{config.Logger.Core()}), nil
}

// zapHandler writes slog's records to a zap core.
type zapHandler struct{ core zapcore.Core }

func (h zapHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.core.Enabled(zapLevel(level))
}

func (h zapHandler) Handle(_ context.Context, r slog.Record) error {
	entry := h.core.Check(zapcore.Entry{Level: zapLevel(r.Level), Time: r.Time, Message: r.Message}, nil)
	if entry == nil {
		return nil
	}
	var fields []zapcore.Field
	r.Attrs(func(a slog.Attr) bool {
		fields = append(fields, zap.Any(a.Key, a.Value.Resolve().Any()))
		return true
	})
	entry.Write(fields...)
	return nil
}

func (h zapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var fields []zapcore.Field
	for _, a := range attrs {
		fields = append(fields, zap.Any(a.Key, a.Value.Resolve().Any()))
	}
	return zapHandler{h.core.With(fields)}
}

func (h zapHandler) WithGroup(name string) slog.Handler {
	return zapHandler{h.core.With([]zapcore.Field{zap.Namespace(name)})}
}

func zapLevel(level slog.Level) zapcore.Level {
	switch {
	case level >= slog.LevelError:
		return zapcore.ErrorLevel
	case level >= slog.LevelWarn:
		return zapcore.WarnLevel
	case level >= slog.LevelInfo:
		return zapcore.InfoLevel
	}
	return zapcore.DebugLevel
}
