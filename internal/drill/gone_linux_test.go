package drill_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// harm is something that happens to the store while the program serves.
type harm struct {
	name string
	do   func(dir string) error
	mend func(dir string) error // nil: it must mend itself
}

// empty removes everything in the store's directory.
func empty(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		err = errors.Join(err, os.RemoveAll(file))
	}
	return err
}

// harms to a store of which a copy, some time old, lies in backup.
func harms(backup string) []harm {
	return []harm{
		{name: "its file is removed", do: func(dir string) error { return os.Remove(filepath.Join(dir, "eye.duckdb")) }},
		{name: "all its files are removed", do: empty},
		{name: "its directory is removed", do: os.RemoveAll},
		{
			name: "an older copy lies in its place",
			do:   func(dir string) error { return errors.Join(empty(dir), os.CopyFS(dir, os.DirFS(backup))) },
		},
		{
			name: "something else lies in its place",
			do: func(dir string) error {
				return errors.Join(empty(dir), os.WriteFile(filepath.Join(dir, "eye.duckdb"), []byte(strings.Repeat("no database ", 10_000)), 0o600))
			},
			mend: empty,
		},
		{
			name: "a file lies in place of its directory",
			do: func(dir string) error {
				return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
			},
			mend: os.Remove,
		},
	}
}

// readOnly mounts an empty file system over the store, which nobody can write.
var readOnly = harm{
	name: "its file system is read-only",
	do:   func(dir string) error { return syscall.Mount("none", dir, "tmpfs", syscall.MS_RDONLY, "") },
	mend: func(dir string) error { return syscall.Unmount(dir, 0) },
}

// TestStoreGone takes the store away while the program serves: events go on
// being taken, /readyz tells, and the journal fills the next store.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	d := newDrill(t, newHome(t.TempDir()))
	s, c := d.begin()
	dir := filepath.Join(d.home.dir, "store")
	d.loadUntil(s, c, 300*time.Millisecond, s.stop)
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, c = d.begin()
	d.settle(s, c)
	all := harms(backup)
	switch {
	case !long():
		all = all[1:3]
	case os.Getenv(inNamespace) != "":
		all = append(all, readOnly)
	}
	for _, h := range all {
		var took time.Duration
		d.underLoad(s, c, func() {
			if err := h.do(dir); err != nil {
				t.Fatalf("%s: %v", h.name, err)
			}
			detail := d.failing(c, "process", 20*time.Second)
			t.Logf("%s: /readyz says: %s", h.name, detail)
			d.accepts(200)
			if h.mend != nil {
				if err := h.mend(dir); err != nil {
					t.Fatalf("mend: %s: %v", h.name, err)
				}
			}
			took = d.ready(c, 30*time.Second)
		})
		d.settle(s, c)
		d.checkAll(s, c)
		t.Logf("%s: ready again after %v, and everything is there", h.name, took.Round(time.Millisecond))
	}
	s.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s, c = d.begin() // without any store
	d.finish(s, c)
}

// TestStoreGoneForGood starts without the store when the journal no longer has
// all that was in it: that is said, events go on being taken, and when the store
// is put back nothing is missing.
func TestStoreGoneForGood(t *testing.T) {
	t.Parallel()
	d := newDrill(t, newHome(t.TempDir(), "EYE_JOURNAL_RETENTION=1ms"))
	s, c := d.begin()
	ctx := t.Context()
	d.loadUntil(s, c, time.Second, func() {})
	d.await(s, c)
	// Trimming happens every second.
	eventually(t, 10*time.Second, "the journal is trimmed", func() bool {
		a, err := c.do(ctx, "GET", "/metrics", c.key, nil, nil)
		return err == nil && trimmed(string(a.body))
	})
	s.stop()
	dir, aside := filepath.Join(d.home.dir, "store"), filepath.Join(d.home.dir, "store.aside")
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	s, c = d.begin()
	d.underLoad(s, c, func() {
		detail := d.failing(c, "process", 20*time.Second)
		t.Logf("/readyz says: %s", detail)
		if !strings.Contains(detail, "journal no longer holds") {
			t.Errorf("/readyz says %q; want it to say what is wrong", detail)
		}
		if !s.logged("restore the store that belongs to this journal") {
			t.Errorf("the log does not say what to do")
		}
		d.accepts(200)
	})
	s.stop()
	if err := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); err != nil {
		t.Fatal(err)
	}
	s, c = d.begin()
	d.settle(s, c)
	d.checkAll(s, c)
	s.stop()
}

// trimmed tells from the metrics whether blocks have left the journal.
func trimmed(metrics string) bool {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "eye_journal_trimmed") {
			return !strings.HasSuffix(strings.TrimSpace(line), " 0")
		}
	}
	return false
}
