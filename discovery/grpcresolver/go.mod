module silly.store/etcd/discovery/grpcresolver

go 1.26.0

require (
	google.golang.org/grpc v1.83.2
	silly.store/etcd v0.0.0
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace silly.store/etcd => ../../
