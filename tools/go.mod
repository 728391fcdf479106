module silly.store/etcd/tools

go 1.26.0
