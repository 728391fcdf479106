package etcdotel

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"silly.store/etcd"
)

// The attributes, by the conventions for databases and RPC where these have a name.
const (
	system        = attribute.Key("db.system.name")
	operationName = attribute.Key("db.operation.name")
	batchSize     = attribute.Key("db.operation.batch.size")
	returnedRows  = attribute.Key("db.response.returned_rows")
	statusCode    = attribute.Key("db.response.status_code")
	errorType     = attribute.Key("error.type")
	serverAddress = attribute.Key("server.address")
	serverPort    = attribute.Key("server.port")
	rpcSystem     = attribute.Key("rpc.system.name")
	rpcMethod     = attribute.Key("rpc.method")
	rpcStatus     = attribute.Key("rpc.response.status_code")
	outcome       = attribute.Key("etcd.outcome")
	attemptCount  = attribute.Key("etcd.attempts")
	revision      = attribute.Key("etcd.revision")
	hedge         = attribute.Key("etcd.hedge")
	shared        = attribute.Key("etcd.shared")
	keyOf         = attribute.Key("etcd.key")
)

func code(err *etcd.Error) etcd.Code {
	if err == nil {
		return etcd.CodeOK
	}
	return err.Code
}

// sentinels have names that say more than their code.
var sentinels = []struct {
	err  error
	name string
}{
	{context.Canceled, "context.Canceled"}, {context.DeadlineExceeded, "context.DeadlineExceeded"},
	{etcd.ErrInvalidRequest, "ErrInvalidRequest"}, {etcd.ErrClosed, "ErrClosed"}, {etcd.ErrUnavailable, "ErrUnavailable"},
	{etcd.ErrTimeout, "ErrTimeout"}, {etcd.ErrNoLeader, "ErrNoLeader"}, {etcd.ErrLeaderChanged, "ErrLeaderChanged"},
	{etcd.ErrNoSpace, "ErrNoSpace"}, {etcd.ErrCompacted, "ErrCompacted"}, {etcd.ErrFutureRevision, "ErrFutureRevision"},
	{etcd.ErrLeaseNotFound, "ErrLeaseNotFound"}, {etcd.ErrKeyNotFound, "ErrKeyNotFound"}, {etcd.ErrRequestTooLarge, "ErrRequestTooLarge"},
	{etcd.ErrResponseTooLarge, "ErrResponseTooLarge"}, {etcd.ErrTooManyRequests, "ErrTooManyRequests"},
	{etcd.ErrPermissionDenied, "ErrPermissionDenied"}, {etcd.ErrUnauthenticated, "ErrUnauthenticated"}, {etcd.ErrAuthFailed, "ErrAuthFailed"},
	{etcd.ErrForeignCluster, "ErrForeignCluster"}, {etcd.ErrCorrupt, "ErrCorrupt"},
}

// typeOf is error.type: a sentinel's name, or the code's.
func typeOf(err *etcd.Error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return err.Code.String()
}

// serverAttributes are those of an endpoint.
func serverAttributes(endpoint string) []attribute.KeyValue {
	if endpoint == "" {
		return nil
	}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		endpoint = u.Host
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return []attribute.KeyValue{serverAddress.String(endpoint)}
	}
	n, _ := strconv.Atoi(port)
	return []attribute.KeyValue{serverAddress.String(host), serverPort.Int(n)}
}
