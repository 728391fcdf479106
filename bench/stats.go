package main

import (
	"math"
	"runtime"
	"slices"
	"strconv"
)

// figures are the results of one round, or the medians of several, for one client,
// under their JSON names.
type figures map[string]float64

// The figures of every measured section; a row may add its own.
const (
	figOps       = "ops"        // operations per second of wall time
	figClientCPU = "client_cpu" // µs of client CPU per operation
	figServerCPU = "server_cpu" // µs of server CPU per operation, all members
	figP50       = "p50"        // µs
	figP99       = "p99"        // µs
	figAllocs    = "allocs"     // allocations per operation
	figBytes     = "bytes"      // bytes allocated per operation
	// figLimit is the share of all cores that the server uses: of what the machine could do
	// if the client cost nothing.
	figLimit = "limit"
)

// addLimit adds the figure of that name, if the server's CPU time is known.
func (f figures) addLimit() {
	if cpu, ok := f[figServerCPU]; ok {
		f[figLimit] = f[figOps] * cpu / 1e6 / float64(runtime.NumCPU())
	}
}

var commonFigures = []string{
	figOps, figClientCPU, figServerCPU, figP50, figP99, figAllocs, figBytes, figLimit,
}

// median returns the median of the values: the mean of the middle two if their
// number is even, NaN if there are none.
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

// medians returns each figure's median over the rounds that have it.
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

// spread returns half the distance from the lowest to the highest round, divided by
// the median: how far the rounds disagree.
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

// ratio returns ours divided by the peer's; false if it has no meaning.
func ratio(ours, peer float64) (float64, bool) {
	r := ours / peer
	return r, peer != 0 && !math.IsNaN(r) && !math.IsInf(r, 0)
}

// rounded keeps four significant digits; the rest is noise.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return r
}
