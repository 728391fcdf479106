package main

import (
	"math"
	"slices"
	"strconv"
)

// figures are what one round, or the medians of several, say about one client.
// The names are those of the JSON.
type figures map[string]float64

// The figures every measured section has; a row adds its own beside them.
const (
	figOps       = "ops"        // operations a second of wall time
	figClientCPU = "client_cpu" // µs of client CPU an operation
	figServerCPU = "server_cpu" // µs of server CPU an operation, all members
	figP50       = "p50"        // µs
	figP99       = "p99"        // µs
	figAllocs    = "allocs"     // allocations an operation
	figBytes     = "bytes"      // bytes allocated an operation
	figIOCalls   = "io_calls"   // read and write system calls of the client an operation
)

var commonFigures = []string{
	figOps, figClientCPU, figServerCPU, figP50, figP99, figAllocs, figBytes, figIOCalls,
}

// median of the values; the mean of the middle two when their number is even,
// NaN when there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// medians takes each figure's median over the rounds that have it.
func medians(rounds []figures) figures {
	values := make(map[string][]float64)
	for _, r := range rounds {
		for name, v := range r {
			values[name] = append(values[name], v)
		}
	}
	out := make(figures, len(values))
	for name, vs := range values {
		out[name] = median(vs)
	}
	return out
}

// spread is half the distance from the lowest to the highest round over the
// median: how far the rounds disagree.
func spread(rounds []figures, name string) float64 {
	var vs []float64
	for _, r := range rounds {
		if v, ok := r[name]; ok {
			vs = append(vs, v)
		}
	}
	m := median(vs)
	if len(vs) == 0 || m == 0 {
		return math.NaN()
	}
	return (slices.Max(vs) - slices.Min(vs)) / 2 / m
}

// ratio is ours divided by the peer's; false where it has no meaning.
func ratio(ours, peer float64) (float64, bool) {
	r := ours / peer
	return r, peer != 0 && !math.IsNaN(r) && !math.IsInf(r, 0)
}

// rounded keeps four significant digits: the rest is noise.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return r
}
