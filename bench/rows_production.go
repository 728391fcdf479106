package main

import (
	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// productionRows are gets and puts as most run them: over TLS, on three members, with
// tokens. The rows without these are in kvRows and coalesceRows.
func productionRows() []row {
	overTLS := serverOptions{tls: etcdtest.ServerTLS}
	three := serverOptions{members: 3}
	gets := func(name, about string, coalesce etcd.Coalesce, o serverOptions) row {
		return row{
			name: name, about: about, callers: []int{256}, quick: []int{},
			coalesce: coalesce, server: o, prepare: fillKeys, run: runGet,
		}
	}
	puts := func(name, about string, coalesce etcd.Coalesce, o serverOptions) row {
		r := gets(name, about, coalesce, o)
		r.prepare, r.run = nil, runPut
		return r
	}
	fanOut := row{
		name: "watch-fanout-tls", about: "watch-fanout over TLS", callers: []int{1}, quick: []int{},
		server: overTLS, run: runFanOut,
	}
	getTLS := gets("get-tls", "get over TLS", etcd.CoalesceOff, overTLS)
	getTLS.callers, getTLS.quick = []int{1, 256}, []int{256}
	putTLS := puts("put-tls", "put over TLS", etcd.CoalesceOff, overTLS)
	putTLS.callers = []int{1, 256}
	return []row{
		getTLS,
		gets("get-mtls", "get over TLS, with client certificates", etcd.CoalesceOff, serverOptions{tls: etcdtest.MutualTLS}),
		putTLS,
		gets("get-coalesced-tls", "get over TLS, ours at its default", etcd.CoalesceReads, overTLS),
		puts("put-coalesced-tls", "put over TLS, ours with CoalesceAll", etcd.CoalesceAll, overTLS),
		fanOut,
		gets("get-3", "get on three members", etcd.CoalesceOff, three),
		puts("put-3", "put on three members", etcd.CoalesceOff, three),
		gets("get-coalesced-3", "get on three members, ours at its default", etcd.CoalesceReads, three),
		puts("put-coalesced-3", "put on three members, ours with CoalesceAll", etcd.CoalesceAll, three),
		gets("get-auth", "get with simple tokens", etcd.CoalesceOff, serverOptions{token: "simple"}),
		puts("put-auth", "put with simple tokens", etcd.CoalesceOff, serverOptions{token: "simple"}),
		gets("get-auth-jwt", "get with signed tokens (JWT)", etcd.CoalesceOff, serverOptions{token: "jwt"}),
	}
}
