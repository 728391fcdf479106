//go:build !race

package yield

const race = false
