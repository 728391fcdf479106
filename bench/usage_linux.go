package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// clientCPU returns the user and system time of this process so far.
func clientCPU() (time.Duration, bool) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, false
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), true
}

// processCPU returns the CPU time of another process so far, in nanoseconds, for
// all its threads including ended ones. The kernel derives a clock id from the
// process id (clock_getcpuclockid(3)); /proc/PID/stat counts in ticks of 10 ms, and
// /proc/PID/schedstat covers only the first thread.
func processCPU(pid int) (time.Duration, error) {
	const cpuclockSched = 2
	id := int32(^pid)<<3 | cpuclockSched
	var ts syscall.Timespec
	//nolint:G103 // the kernel fills ts
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// inMemory reports whether a folder is on a file system without a disk, where an
// fsync costs nothing.
func inMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return false
	}
	kind := uint32(st.Type)
	return kind == tmpfs || kind == ramfs
}

// connectionsTo counts this process's TCP connections to an IPv4 host:port; known is false
// if that can't be determined.
func connectionsTo(addr string) (n int, known bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host).To4()
	text, readErr := os.ReadFile("/proc/self/net/tcp")
	if err != nil || ip == nil || readErr != nil {
		return 0, false
	}
	const established = "01"
	remote := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], number)
	own := ownSockets()
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[2] == remote && f[3] == established && own["socket:["+f[9]+"]"] {
			n++
		}
	}
	return n, true
}

// ownSockets returns this process's sockets, as /proc names them.
func ownSockets() map[string]bool {
	const dir = "/proc/self/fd/"
	own := make(map[string]bool)
	files, err := os.ReadDir(dir)
	if err != nil {
		return own
	}
	for _, f := range files {
		if name, err := os.Readlink(dir + f.Name()); err == nil {
			own[name] = true
		}
	}
	return own
}
