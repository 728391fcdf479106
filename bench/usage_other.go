//go:build !linux

package main

import (
	"errors"
	"time"
)

// On systems other than Linux the CPU figures are left out.

func clientCPU() (time.Duration, bool) { return 0, false }

func processCPU(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func inMemory(string) bool { return false }

func connectionsTo(string) (n int, known bool) { return 0, false }
