//go:build race

package yield

// race: the scheduler runs goroutines in any order.
const race = true
