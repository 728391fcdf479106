//go:build race

package client

// raceFactor is about how much more CPU the race detector takes.
const raceFactor = 10
