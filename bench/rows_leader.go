package main

import (
	"context"
	"time"

	"silly.store/etcd"
)

// figAnyP50 is the median latency of our client without Config.Prefer.
const figAnyP50 = "any_p50_us"

// leaderRows measure the gain of writing to the leader directly.
func leaderRows() []row {
	return []row{{
		name: "put-leader", about: "Put on three members, 5 ms each way between them; ours with PreferLeader; " + figAnyP50 + " is ours without",
		callers: []int{8},
		server:  serverOptions{members: 3, peerDelay: 5 * time.Millisecond},
		run:     runPutLeader,
	}}
}

func runPutLeader(ctx context.Context, r *round) (figures, error) {
	if r.client != oursName {
		return runPut(ctx, r)
	}
	if r.state == nil {
		c, err := etcd.New(etcd.Config{Endpoints: r.target.Endpoints, Prefer: etcd.PreferLeader})
		if err != nil {
			return nil, err
		}
		r.state = &ours{c: c} // until the process ends
	}
	whole := r.length
	defer func() { r.length = whole }()
	r.length = whole / 2
	spread, err := runPut(ctx, r)
	if err != nil {
		return nil, err
	}
	any := r.load
	defer func() { r.load = any }()
	r.load = r.state.(load)
	out, err := runPut(ctx, r)
	if err == nil {
		out[figAnyP50] = spread[figP50]
	}
	return out, err
}
