//go:build linux || darwin

package journal

import "golang.org/x/sys/unix"

func statfs(dir string) (fileSystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fileSystem{}, err
	}
	// Bavail, not Bfree: what is reserved for root is not ours.
	return fileSystem{Total: int64(s.Blocks) * int64(s.Bsize), Free: int64(s.Bavail) * int64(s.Bsize)}, nil
}
