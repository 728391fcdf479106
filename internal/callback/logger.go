package callback

import (
	"context"
	"log/slog"
)

// Logger returns a logger whose handler may panic: panicked is called then, if it is not nil, and
// the record is lost. Nil stays nil.
func Logger(log *slog.Logger, panicked func()) *slog.Logger {
	if log == nil {
		return nil
	}
	if panicked == nil {
		panicked = func() {}
	}
	return slog.New(&handler{log.Handler(), panicked})
}

type handler struct {
	to       slog.Handler
	panicked func()
}

func (h *handler) recover() {
	if recover() != nil {
		h.panicked()
	}
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	defer h.recover()
	return h.to.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	defer h.recover()
	return h.to.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.to.WithAttrs(attrs), h.panicked}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.to.WithGroup(name), h.panicked}
}
