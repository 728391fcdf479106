package v3compat

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

func TestTranslate(t *testing.T) {
	compacted := &etcd.Error{Op: "Get", Code: etcd.CodeOutOfRange, Message: "etcdserver: mvcc: required revision has been compacted"}
	elsewhere := errors.New("somebody else's")
	for name, test := range map[string]struct{ err, want error }{
		"nil":                 {nil, nil},
		"a context's":         {context.Canceled, context.Canceled},
		"a wrapped context's": {fmt.Errorf("etcd: %w", context.DeadlineExceeded), context.DeadlineExceeded},
		"of the server":       {compacted, rpctypes.ErrCompacted},
		"somebody else's":     {elsewhere, elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			if got := translate(test.err); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTranslateKeepsTheCause(t *testing.T) {
	err := translate(&etcd.Error{Op: "Put", Endpoint: "a:1", Code: etcd.CodeUnavailable, Message: "connection lost"})
	if s, ok := status.FromError(err); !ok || s.Code() != codes.Unavailable {
		t.Errorf("status.FromError(%v) is %v, %v", err, s, ok)
	}
	var e *etcd.Error
	if !errors.As(err, &e) || e.Endpoint != "a:1" {
		t.Errorf("no *etcd.Error in %v", err)
	}
}
