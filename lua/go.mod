module silly.store/etcd/lua

go 1.26.0

require (
	github.com/yuin/gopher-lua v1.1.2
	silly.store/etcd v0.0.0
)

require golang.org/x/net v0.62.0 // indirect

replace silly.store/etcd => ../
