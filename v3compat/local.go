package v3compat

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
)

// local is a gRPC connection that ends in this process: its methods are etcd's,
// and they are answered by calls of an etcd.Client. It takes the place of
// grpc-go's connections in what client/v3 makes of one.
type local struct {
	c           *etcd.Client
	maintenance *maintenanceServer
	unary       map[string]unaryMethod
	streams     map[string]streamMethod

	// conn is what a clientv3.Client takes for its connection to the cluster. nil
	// while that is being made, and calls on it are the only ones then.
	conn atomic.Pointer[grpc.ClientConn]

	ctx      context.Context // ends with close, and ends all streams
	end      context.CancelFunc
	mu       sync.Mutex     // guards the fields below
	closed   bool           // no stream begins any longer
	handlers sync.WaitGroup // of streams
}

type unaryMethod struct {
	service any
	desc    grpc.MethodDesc
}

type streamMethod struct {
	service any
	desc    grpc.StreamDesc
}

func newLocal(c *etcd.Client, schemes schemes) *local {
	l := &local{c: c, maintenance: &maintenanceServer{c: c, schemes: schemes}, unary: map[string]unaryMethod{}, streams: map[string]streamMethod{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.serve(&pb.KV_ServiceDesc, &kvServer{c: c})
	l.serve(&pb.Cluster_ServiceDesc, &clusterServer{c: c})
	l.serve(&pb.Auth_ServiceDesc, &authServer{c: c})
	l.serve(&pb.Maintenance_ServiceDesc, l.maintenance)
	l.serve(&pb.Lease_ServiceDesc, &leaseServer{c: c})
	l.serve(&pb.Watch_ServiceDesc, &watchServer{c: c})
	return l
}

func (l *local) serve(desc *grpc.ServiceDesc, service any) {
	for _, m := range desc.Methods {
		l.unary["/"+desc.ServiceName+"/"+m.MethodName] = unaryMethod{service, m}
	}
	for _, s := range desc.Streams {
		l.streams["/"+desc.ServiceName+"/"+s.StreamName] = streamMethod{service, s}
	}
}

// close ends the streams and waits for what serves them.
func (l *local) close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end()
	l.handlers.Wait()
	return nil
}

// options have the calls of a gRPC connection answered here, behind other interceptors.
func (l *local) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(l.interceptUnary), grpc.WithChainStreamInterceptor(l.interceptStream)}
}

// interceptUnary has what is called on the connection of a clientv3.Client
// answered here. Connections that its Dial makes, to one endpoint, are grpc-go's.
func (l *local) interceptUnary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if l.elsewhere(conn) {
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	return l.Invoke(ctx, method, req, reply, opts...)
}

func (l *local) interceptStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if l.elsewhere(conn) {
		return open(ctx, desc, conn, method, opts...)
	}
	return l.NewStream(ctx, desc, method, opts...)
}

func (l *local) elsewhere(conn *grpc.ClientConn) bool {
	own := l.conn.Load()
	return own != nil && conn != own
}

// Invoke answers a unary call.
func (l *local) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := l.unary[method]
	if !ok {
		return l.pass(ctx, method, args, reply)
	}
	resp, err := m.desc.Handler(m.service, ctx, func(in any) error { return move(in, args) }, nil)
	if err != nil {
		return err
	}
	return move(reply, resp)
}

// healthCheck is the path of gRPC's own question whether a server serves.
const healthCheck = "/grpc.health.v1.Health/Check"

// pass has a member answer what client/v3 has no interface for: health checks, and the
// services that etcd offers beside its own API, such as locks.
func (l *local) pass(ctx context.Context, method string, args, reply any) error {
	in, ok := args.(proto.Message)
	out, also := reply.(proto.Message)
	if !ok || !also {
		return status.Errorf(codes.Internal, "%s takes messages, not %T and %T", method, args, reply)
	}
	r := request{path: method}
	if method == healthCheck {
		r.traits = reads | byAnyMember
	}
	_, err := through(ctx, l.c, r, in, out)
	return err
}

func unknownMethod(method string) error {
	return status.Errorf(codes.Unimplemented, "silly.store/etcd/v3compat has no method %s", method)
}

// move makes dst what src is; from then on they share what is in them.
func move(dst, src any) error {
	to, ok := dst.(proto.Message)
	from, also := src.(proto.Message)
	if !ok || !also || to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() {
		return status.Errorf(codes.Internal, "message is %T where a %T was expected", src, dst)
	}
	proto.Reset(to)
	from.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.ProtoReflect().Set(field, value)
		return true
	})
	return nil
}
