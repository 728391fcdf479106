// Grpcservice lets a gRPC client find the servers of a service through etcd, and balance
// over them while one starts and another stops.
//
//	go run ./examples/grpcservice
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
	"silly.store/etcd/examples/internal/example"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Your etcd where ETCD_ENDPOINTS names one, else one inside this program.
	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, os.Stdout, e), e.Close()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, e *example.Etcd) error {
	c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		return err
	}
	defer co.Close(context.WithoutCancel(ctx))
	service := e.Prefix + "greeter"

	// The client. It needs no address, only the name of the service.
	resolver, err := grpcresolver.NewBuilder(c, discovery.WatchConfig{})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("etcd:///"+service, grpc.WithResolvers(resolver),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		return err
	}
	defer conn.Close()

	first, err := serve(ctx, co, service, "first")
	if err != nil {
		return err
	}
	defer first.stop()
	second, err := serve(ctx, co, service, "second")
	if err != nil {
		return err
	}
	defer second.stop()
	if err := reaches(ctx, out, conn, first, second); err != nil {
		return err
	}
	third, err := serve(ctx, co, service, "third")
	if err != nil {
		return err
	}
	defer third.stop()
	if err := reaches(ctx, out, conn, first, second, third); err != nil {
		return err
	}

	// A server that stops leaves the service first, and then answers the calls in
	// flight.
	if err := first.reg.Close(ctx); err != nil {
		return err
	}
	first.grpc.GracefulStop()
	return reaches(ctx, out, conn, second, third)
}

// server is one instance of the service. For this example it serves gRPC's health service.
type server struct {
	name, addr string
	grpc       *grpc.Server
	reg        *discovery.Registration
	served     chan struct{}
}

// serve starts a server and registers it.
func serve(ctx context.Context, co *concurrency.Coordinator, service, name string) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, addr: l.Addr().String(), grpc: grpc.NewServer(), served: make(chan struct{})}
	healthpb.RegisterHealthServer(s.grpc, health.NewServer())
	go func() {
		defer close(s.served)
		if err := s.grpc.Serve(l); err != nil {
			log.Println(name, err)
		}
	}()
	s.reg, err = discovery.Register(ctx, co, discovery.Instance{Service: service, ID: name, Addr: s.addr})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	s.grpc.Stop()
	<-s.served
}

// reaches calls the service until exactly these servers answer.
func reaches(ctx context.Context, out io.Writer, conn *grpc.ClientConn, servers ...*server) error {
	names := make(map[string]string)
	for _, s := range servers {
		names[s.addr] = s.name
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		var by []string
		for range 2 * len(servers) {
			var from peer.Peer
			_, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest), grpc.WaitForReady(true), grpc.Peer(&from))
			if err != nil {
				return err
			}
			by = append(by, names[from.Addr.String()])
		}
		slices.Sort(by)
		if by = slices.Compact(by); len(by) == len(servers) && by[0] != "" {
			fmt.Fprintln(out, "calls are answered by", by)
			return nil
		}
	}
}
