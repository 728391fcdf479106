//go:build race

package grpcresolver

const raceEnabled = true
