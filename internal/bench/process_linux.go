package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is the state of a running process.
type process struct {
	cpu      time.Duration // user and system time so far
	resident int64         // bytes now
	peak     int64         // bytes at most
}

// ticks is USER_HZ, which Linux fixes at 100 for all programs to see.
const ticks = 100

// processOf reads the state of a process.
func processOf(pid int) (process, error) {
	var p process
	if pid <= 0 {
		return p, fmt.Errorf("no process %d", pid)
	}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, err
	}
	// The name, in parentheses, may hold anything; behind it come the numbers,
	// from field 3 on. utime and stime are fields 14 and 15.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return p, fmt.Errorf("read %s/stat: too short", dir)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return p, fmt.Errorf("read %s/stat: %w", dir, err)
		}
		p.cpu += time.Duration(n) * time.Second / ticks
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "VmRSS":
			p.resident = n << 10
		case "VmHWM":
			p.peak = n << 10
		}
	}
	return p, nil
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// inMemory tells whether the directory lies in a file system that has no disk,
// where waiting for the disk costs nothing.
func inMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && (uint32(s.Type) == tmpfs || uint32(s.Type) == ramfs)
}

// dieWithParent makes the kernel end a child when the thread that started it
// ends, so that nothing stays behind even when this process is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// sleep sleeps until d is over or, within a tenth of a second, ctx ends. The
// runtime's timers may be a millisecond late, as much as what is measured here;
// the kernel's are not.
func sleep(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	for d > 0 && ctx.Err() == nil {
		ts := syscall.NsecToTimespec(int64(min(d, 100*time.Millisecond)))
		syscall.Nanosleep(&ts, nil) // a signal may end it early: the loop sees to that
		d = time.Until(end)
	}
}
