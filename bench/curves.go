package main

import (
	"time"

	"silly.store/etcd"
)

// curveSuffix ends the names of curveRows.
const curveSuffix = "-curve"

// curveRows returns the rows of -curves: gets and puts at every power of two of
// callers up to 1024, for ours with coalescing, ours without, and client/v3.
func curveRows() []row {
	var callers []int
	for n := 1; n <= 1024; n *= 2 {
		callers = append(callers, n)
	}
	return []row{
		{
			name: "get" + curveSuffix, about: "get, ours with CoalesceReads",
			callers:  callers,
			coalesce: etcd.CoalesceReads, plain: true,
			prepare: fillKeys,
			run:     runGet,
		},
		{
			name: "put" + curveSuffix, about: "put, ours with CoalesceAll",
			callers:  callers,
			coalesce: etcd.CoalesceAll, plain: true,
			run: runPut,
		},
	}
}

// curveScale has shorter rounds than fullScale: there are 66 points.
func curveScale() scale {
	s := fullScale()
	s.Rounds, s.Round, s.Warmup = 3, 700*time.Millisecond, 200*time.Millisecond
	return s
}
