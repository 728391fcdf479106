package etcdtest_test

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"silly.store/etcd/etcdtest"
)

// connect returns a gRPC connection to the server. It uses grpc-go, so that a bug
// of this repository's client can't hide one of etcdtest.
func connect(s *etcdtest.Server, cfg *tls.Config) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if cfg != nil {
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName = "127.0.0.1"
		}
		creds = credentials.NewTLS(cfg)
	}
	target := "passthrough:///" + s.Addr()
	if network(s) == "unix" {
		target = s.Endpoints()[0]
	}
	return grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
}

// read makes a linearizable read.
func read(ctx context.Context, s *etcdtest.Server, cfg *tls.Config) error {
	conn, err := connect(s, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("k")})
	return err
}

func put(ctx context.Context, s *etcdtest.Server, key, value string) error {
	conn, err := connect(s, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	return err
}

func get(ctx context.Context, s *etcdtest.Server, key string) (string, error) {
	conn, err := connect(s, nil)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	resp, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
	if err != nil || len(resp.Kvs) == 0 {
		return "", err
	}
	return string(resp.Kvs[0].Value), nil
}

// txnOf makes one Txn of n reads.
func txnOf(ctx context.Context, s *etcdtest.Server, n int) error {
	conn, err := connect(s, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}}
	_, err = pb.NewKVClient(conn).Txn(ctx, &pb.TxnRequest{Success: slices.Repeat([]*pb.RequestOp{read}, n)})
	return err
}

// watch opens a stream that stays open until hangUp closes its connection or the
// server ends.
func watch(t *testing.T, s *etcdtest.Server, cfg *tls.Config) (_ pb.Watch_WatchClient, hangUp func() error) {
	t.Helper()
	conn, err := connect(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := pb.NewWatchClient(conn).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte("k")}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream, conn.Close
}
