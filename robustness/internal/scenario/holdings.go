package scenario

import (
	"math"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
)

// profileRate is fine enough to catch every buffer of a few kB in the heap profile,
// at a negligible cost.
const profileRate = 4 << 10

// holdings is the resource use of this process.
type holdings struct {
	heap       float64 // bytes after collections
	proxies    float64 // the fault proxies' share of heap
	goroutines float64 // excluding the proxies'
}

// proxyPackage is the package of the fault proxies. They hold memory per connection,
// including those among the members, whose number varies.
const proxyPackage = "silly.store/etcd/etcdtest."

// measured returns the current resource use of this process.
func measured() holdings {
	runtime.GC() // the profile lags one collection behind
	return holdings{heap: heap(), proxies: heapOf(proxyPackage), goroutines: goroutinesOutside(proxyPackage)}
}

// alike reports whether two measurements agree.
func (h holdings) alike(other holdings) bool {
	return h.goroutines == other.goroutines && math.Abs(h.heap-other.heap) < other.heap/200
}

// heapOf returns the heap allocated by functions of a package, as "path/of/package.",
// in pieces that are not small. It needs profileRate from the start.
func heapOf(of string) float64 {
	sum := 0.0
	var records []runtime.MemProfileRecord
	for n, ok := 0, false; !ok; {
		records = make([]runtime.MemProfileRecord, n+100)
		n, ok = runtime.MemProfile(records, false)
		records = records[:min(n, len(records))]
	}
	for i := range records {
		if r := &records[i]; allocatedBy(r, of) {
			size := float64(r.InUseBytes()) / float64(r.InUseObjects())
			sum += float64(r.InUseBytes()) / (1 - math.Exp(-size/profileRate))
		}
	}
	return sum
}

// allocatedBy reports whether a function of a package is on the stack.
func allocatedBy(r *runtime.MemProfileRecord, of string) bool {
	frames := runtime.CallersFrames(r.Stack())
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, of) {
			return true
		}
		if !more {
			return false
		}
	}
}

// goroutinesOutside counts the goroutines without a function of a package, as
// "path/of/package.", on their stacks.
func goroutinesOutside(of string) float64 {
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return -1
	}
	sum := 0
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, of) {
			continue
		}
		for line := range strings.Lines(stack) {
			if count, _, ok := strings.Cut(line, " @ "); ok {
				n, _ := strconv.Atoi(count)
				sum += n
			}
		}
	}
	return float64(sum)
}
