//go:build !linux

package bench

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// process is the state of a running process.
type process struct {
	cpu      time.Duration // user and system time so far
	resident int64         // bytes now
	peak     int64         // bytes at most
}

// processOf knows only Linux.
func processOf(int) (process, error) { return process{}, errors.ErrUnsupported }

func ownCPU() time.Duration { return 0 }

func inMemory(string) bool { return false }

func dieWithParent() *syscall.SysProcAttr { return nil }

// sleep sleeps until d is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) { wait(ctx, d) }
