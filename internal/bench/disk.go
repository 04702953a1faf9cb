package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// sizeOf is the size of all files below dir, 0 when there is none. Files may
// come and go meanwhile.
func sizeOf(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// syncTime is the median time to write 4 KiB to a file in dir and sync it: what
// a durable acknowledgement costs at least on this disk, today.
func syncTime(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var h Histogram
	page := make([]byte, 4096)
	for range 100 {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		h.Record(time.Since(start))
	}
	return h.Quantile(0.5), nil
}
