module silly.store/etcd

go 1.25.0

require golang.org/x/net v0.50.0
