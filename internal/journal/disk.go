package journal

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// statEvery is how often at most the file system is asked for its free space.
const statEvery = 250 * time.Millisecond

// recordBytes is what JetStream writes for a block beyond its bytes, generously.
const recordBytes = 4 << 10

// fileSystem is the size of the file system that holds a directory.
type fileSystem struct{ Total, Free int64 }

// disk watches the free space. Between two looks at it, what the journal itself
// has written since is taken off.
type disk struct {
	dir     string // "": nothing to watch
	minFree int64
	statfs  func(dir string) (fileSystem, error)
	now     func() time.Time

	mu      sync.Mutex
	asked   time.Time // guarded by mu
	free    int64     // guarded by mu: when asked
	written int64     // guarded by mu: since then
	err     error     // guarded by mu: of asking
}

// check says why size more bytes must not be written, or nil.
func (d *disk) check(size int64) error {
	if d.dir == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.now(); now.Sub(d.asked) >= statEvery {
		fs, err := d.statfs(d.dir)
		d.asked, d.free, d.written, d.err = now, fs.Free, 0, err
	}
	if errors.Is(d.err, errors.ErrUnsupported) {
		return nil // no way to know on this system
	}
	if d.err != nil {
		return fmt.Errorf("measure the free space of the disk: %w", d.err)
	}
	if left := d.free - d.written; left-size < d.minFree {
		return fmt.Errorf("the disk has %d bytes left, and %d are to stay free", left, d.minFree)
	}
	return nil
}

// wrote notes that a block of size bytes was written.
func (d *disk) wrote(size int64) {
	d.mu.Lock()
	d.written += size + recordBytes
	d.mu.Unlock()
}

// lookAgain makes the next check ask the file system.
func (d *disk) lookAgain() {
	d.mu.Lock()
	d.asked = time.Time{}
	d.mu.Unlock()
}

// crowded tells whether so little space is left, right now, that the server's
// own writes are in danger: a quarter of what is to stay free.
func (d *disk) crowded() bool {
	if d.dir == "" {
		return false
	}
	d.lookAgain()
	left := d.left()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == nil && left < d.minFree/4
}

// left is the free space as last known.
func (d *disk) left() int64 {
	if d.dir == "" {
		return 0
	}
	d.check(0) // look again if it is time; the verdict does not matter here
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free - d.written
}
