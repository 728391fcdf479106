module silly.store/etcd/etcdtest

go 1.26.0
