package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/internal/transport"
)

const patience = 20 * time.Second

// rawCodec passes messages through as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("message is a %T", v)
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	*(v.(*[]byte)) = append([]byte(nil), data...)
	return nil
}

// server is a gRPC server; handle implements its methods.
type server struct {
	grpc     *grpc.Server
	web      *http.Server // in front of grpc, or nil
	target   transport.Target
	gate     chan struct{} // Gate answers when it is closed
	arrived  chan string   // blocking methods, as they begin
	canceled chan error    // why the context of each Hang ended
}

// kind is how a server is set up.
type kind struct {
	name    string
	network string
	tls     bool
	mutual  bool
	http    bool // net/http's HTTP/2 in front, as etcd does on TLS listeners
}

var kinds = []kind{
	{name: "grpc-go", network: "tcp"},
	{name: "grpc-go, unix", network: "unix"},
	{name: "grpc-go, TLS", network: "tcp", tls: true},
	{name: "grpc-go, mutual TLS", network: "tcp", tls: true, mutual: true},
	{name: "net/http", network: "tcp", tls: true, http: true},
	{name: "net/http, mutual TLS", network: "tcp", tls: true, mutual: true, http: true},
}

// everyKind runs f against each kind of server, beside other tests.
func everyKind(t *testing.T, f func(t *testing.T, s *server, c transport.Conn)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := k.start(t)
			f(t, s, s.dial(t, transport.Options{}))
		})
	}
}

func (k kind) start(t *testing.T, opts ...grpc.ServerOption) *server {
	t.Helper()
	s := &server{gate: make(chan struct{}), arrived: make(chan string, 100), canceled: make(chan error, 100)}
	opts = append(opts, grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(s.handle), grpc.MaxRecvMsgSize(1<<30), grpc.MaxSendMsgSize(1<<30))
	address := "127.0.0.1:0"
	if k.network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(k.network, address)
	if err != nil {
		t.Fatal(err)
	}
	s.target = transport.Target{Network: k.network, Address: ln.Addr().String(), Authority: "etcd.test:2379"}
	var config *tls.Config
	if k.tls {
		config, s.target.TLS = certificates(t, k.mutual)
		if !k.http {
			opts = append(opts, grpc.Creds(credentials.NewTLS(config)))
		}
	}
	s.grpc = grpc.NewServer(opts...)
	served := make(chan struct{})
	if k.http {
		s.web = &http.Server{Handler: s.grpc, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { defer close(served); _ = s.web.ServeTLS(ln, "", "") }()
		t.Cleanup(func() { _ = s.web.Close(); <-served })
	} else {
		go func() { defer close(served); _ = s.grpc.Serve(ln) }()
		t.Cleanup(func() { s.grpc.Stop(); <-served })
	}
	return s
}

func (s *server) dial(t *testing.T, opts transport.Options) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := transport.Dial(ctx, s.target, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// handle implements every method of the service.
func (s *server) handle(_ any, ss grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(ss)
	ctx := ss.Context()
	var msg []byte
	receive := func() error { msg = nil; return ss.RecvMsg(&msg) }
	method := path[strings.LastIndex(path, "/")+1:]
	if method != "Bidi" {
		if err := receive(); err != nil {
			return err
		}
	}
	switch method {
	case "Echo":
		return ss.SendMsg(&msg)
	case "Meta":
		return s.meta(ss)
	case "Fail": // code and text
		code, text, _ := strings.Cut(string(msg), " ")
		n, _ := strconv.Atoi(code)
		return status.Error(codes.Code(n), text)
	case "Count": // number and size of the messages, then a status
		var n, size, code int
		_, _ = fmt.Sscan(string(msg), &n, &size, &code)
		for i := range n {
			out := make([]byte, size)
			copy(out, strconv.Itoa(i))
			if err := ss.SendMsg(&out); err != nil {
				return err
			}
		}
		return status.Error(codes.Code(code), "after the last")
	case "Bidi":
		for {
			if err := receive(); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := ss.SendMsg(&msg); err != nil {
				return err
			}
		}
	case "Gate":
		s.arrived <- method
		select {
		case <-s.gate:
			return ss.SendMsg(&msg)
		case <-ctx.Done():
			return ctx.Err()
		}
	case "Hang":
		s.arrived <- method
		<-ctx.Done()
		s.canceled <- ctx.Err()
		return ctx.Err()
	}
	return status.Error(codes.Unimplemented, "no such method: "+path)
}

// meta answers with the server's view of the call.
func (s *server) meta(ss grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(ss.Context())
	left := "none"
	if d, ok := ss.Context().Deadline(); ok {
		left = time.Until(d).String()
	}
	out := []byte(strings.Join([]string{
		"token=" + strings.Join(md["token"], ","),
		"hasleader=" + strings.Join(md["hasleader"], ","),
		"authority=" + strings.Join(md[":authority"], ","),
		"user-agent=" + strings.Join(md["user-agent"], ","),
		"client-api-version=" + strings.Join(md[rpctypes.MetadataClientAPIVersionKey], ","),
		"content-type=" + strings.Join(md["content-type"], ","),
		"deadline=" + left,
	}, "\n"))
	return ss.SendMsg(&out)
}

func TestMain(m *testing.M) { leaktest.Main(m) }
