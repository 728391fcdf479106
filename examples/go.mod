module silly.store/etcd/examples

go 1.26.0
