package drill_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// volume is an ext4 file system in a file, mounted where only this test sees it.
type volume struct {
	t     testing.TB
	image string
	dir   string // where it is mounted
}

// newVolume makes one, and mounts it at dir, or at a place of its own.
func newVolume(t testing.TB, size int64, dir string) *volume {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("NOT TESTED: what happens to the disk. This drill mounts file systems of its own, for which it must run as root on Linux and be allowed to make a mount namespace.")
	}
	if testing.Short() {
		t.Skip("not in short mode: drills with file systems of their own")
	}
	base := t.TempDir()
	v := &volume{t: t, image: filepath.Join(base, "image"), dir: dir}
	if dir == "" {
		v.dir = filepath.Join(base, "mnt")
	}
	if err := os.MkdirAll(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(v.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", v.image).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: what happens to the disk. mkfs.ext4: %v %s", err, out)
	}
	if out, err := v.tryMount(); err != nil {
		t.Skipf("NOT TESTED: what happens to the disk. mount -o loop: %v %s", err, out)
	}
	t.Cleanup(func() {
		// Whatever state it is in; the namespace ends with us at the latest.
		syscall.Unmount(v.dir, syscall.MNT_DETACH)
	})
	return v
}

func (v *volume) tryMount() ([]byte, error) {
	return exec.Command("mount", "-t", "ext4", "-o", "loop", v.image, v.dir).CombinedOutput()
}

// mount mounts it again. What its own journal has is recovered then.
func (v *volume) mount() {
	v.t.Helper()
	if out, err := v.tryMount(); err != nil {
		v.t.Fatalf("mount %s again: %v %s", v.image, err, out)
	}
}

// unmount unmounts it once nobody uses it any more.
func (v *volume) unmount() {
	v.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		err := syscall.Unmount(v.dir, 0)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("unmount %s: %v", v.dir, err)
		}
	}
}

// The request of ioctl(2) that ends an ext4 at once, and its flag for not even
// writing the file system's own journal out: what was not synced is gone.
const (
	ioctlShutdown   = 0x8004587d
	shutdownNoFlush = 2
)

// cut cuts the power: from now on nothing reaches the disk.
func (v *volume) cut() error {
	f, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(shutdownNoFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("shut the file system down: %w", errno)
	}
	return nil
}

// sync syncs everything on it.
func (v *volume) sync() error {
	f, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const sysSyncfs = 306 // on amd64; elsewhere sync does as well
	if _, _, errno := syscall.Syscall(sysSyncfs, f.Fd(), 0, 0); errno != 0 {
		syscall.Sync()
	}
	return nil
}

// free space, in bytes.
func (v *volume) free() int64 {
	v.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(v.dir, &s); err != nil {
		v.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// ballast fills it up until only leave bytes are free; the function returned
// takes the ballast away again.
func (v *volume) ballast(leave int64) (remove func()) {
	v.t.Helper()
	path := filepath.Join(v.dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	for at, step := int64(0), int64(64<<20); step >= 4096; {
		if n := min(step, v.free()-leave); n < 4096 || syscall.Fallocate(int(f.Fd()), 0, at, n) != nil {
			step /= 2 // the last pieces are small
			continue
		} else {
			at += n
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			v.t.Fatal(err)
		}
	}
}
