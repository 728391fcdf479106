//go:build !race

package grpcresolver

const raceEnabled = false
