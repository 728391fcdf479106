module silly.store/etcd/bench

go 1.26.0
