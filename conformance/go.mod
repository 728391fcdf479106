module silly.store/etcd/conformance

go 1.26.0
