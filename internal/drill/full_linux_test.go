package drill_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// counted is how much was acknowledged and how often the answer was 503.
func (d *drill) counted() (acknowledged, unavailable int) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	return d.book.count.acknowledged, d.book.count.unavailable
}

// underLoad runs do while load is on the server, which must outlive it.
func (d *drill) underLoad(s *server, c *client, do func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	var load sync.WaitGroup
	load.Go(func() { d.loadFor(ctx, s, c) })
	defer func() {
		if d.t.Failed() {
			d.t.Logf("log of the server:\n%s", s.lastLines())
		}
		cancel()
		load.Wait()
	}()
	do()
	if s.ended() {
		d.t.Fatalf("it did not outlive it: %v; log:\n%s", s.state, s.lastLines())
	}
}

// checkReads reads a list, a session and the sessions: none of them may fail.
func (d *drill) checkReads(c *client) {
	d.t.Helper()
	for _, path := range []string{"/v1/events?limit=50", "/v1/sessions?limit=5", "/v1/sessions/await", "/v1/quarantine?limit=5"} {
		if status, err := c.get(d.t.Context(), path, new(any)); err != nil || status != http.StatusOK {
			d.t.Errorf("GET %s: status %d, %v; want 200", path, status, err)
		}
	}
}

// ready waits until /readyz is content again.
func (d *drill) ready(c *client, limit time.Duration) time.Duration {
	d.t.Helper()
	return eventually(d.t, limit, "ready again", func() bool {
		status, _, err := c.readiness(d.t.Context())
		return err == nil && status == http.StatusOK
	})
}

// failing waits until /readyz names the part, and returns what it says.
func (d *drill) failing(c *client, part string, limit time.Duration) (detail string) {
	d.t.Helper()
	eventually(d.t, limit, "/readyz says that "+part+" does not work", func() bool {
		status, failing, err := c.readiness(d.t.Context())
		if err != nil {
			return false
		}
		detail = failing[part]
		return status == http.StatusServiceUnavailable && detail != ""
	})
	return detail
}

// TestDiskFull fills the disk under everything. New events are refused before
// it hurts, reading goes on, and when there is room again so does everything,
// without a restart.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 640<<20, "")
	d := newDrill(t, newHome(filepath.Join(v.dir, "data"), "EYE_JOURNAL_MAX_BYTES=200MiB"))
	s, c := d.begin()
	d.await(s, c)
	d.pace = 100 * time.Millisecond
	left := []int64{16 << 20}
	if long() {
		left = append(left, 0, 0, 0) // jumped over the floor
	}
	for _, leave := range left {
		var took time.Duration
		d.underLoad(s, c, func() {
			remove := v.ballast(leave)
			_, before := d.counted()
			eventually(t, 10*time.Second, "events are answered 503", func() bool {
				_, now := d.counted()
				return now > before+5
			})
			t.Logf("with %d bytes left /readyz says: %s", leave, d.failing(c, "journal", 10*time.Second))
			d.checkReads(c)
			d.stays(c, 503, 2*time.Second)
			d.checkReads(c)
			accepted, _ := d.counted()
			remove()
			took = d.ready(c, 60*time.Second)
			eventually(t, 60*time.Second, "events are accepted again", func() bool {
				now, _ := d.counted()
				return now > accepted
			})
		})
		t.Logf("ready %v after there was room again", took.Round(time.Millisecond))
		d.settle(s, c)
	}
	d.finish(s, c)
}

// TestStoreDiskFull fills the disk under the store only: events go on being
// taken, and are stored when there is room again.
func TestStoreDiskFull(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	v := newVolume(t, 96<<20, filepath.Join(data, "store"))
	d := newDrill(t, newHome(data))
	s, c := d.begin()
	d.await(s, c)
	var took time.Duration
	d.underLoad(s, c, func() {
		remove := v.ballast(0)
		t.Logf("/readyz says: %s", d.failing(c, "process", 30*time.Second))
		d.accepts(1000)
		remove()
		took = d.ready(c, 30*time.Second)
	})
	t.Logf("ready %v after there was room again", took.Round(time.Millisecond))
	d.finish(s, c)
}

// accepts waits until so many more events have been acknowledged.
func (d *drill) accepts(more int) {
	d.t.Helper()
	before, _ := d.counted()
	eventually(d.t, 20*time.Second, fmt.Sprintf("%d more events are acknowledged", more), func() bool {
		now, _ := d.counted()
		return now >= before+more
	})
}

// TestJournalDiskFull lets the journal's own writes fail, without the floor that
// keeps it from that: its server then acknowledges nothing until everything is
// opened again, which the program does by itself when there is room.
func TestJournalDiskFull(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("only in the long form: make drill")
	}
	v := newVolume(t, 640<<20, "")
	d := newDrill(t, newHome(filepath.Join(v.dir, "data"), "EYE_JOURNAL_MAX_BYTES=200MiB", "EYE_JOURNAL_MIN_FREE=1"))
	s, c := d.begin()
	d.await(s, c)
	var took time.Duration
	d.underLoad(s, c, func() {
		remove := v.ballast(0)
		_, before := d.counted()
		eventually(t, 20*time.Second, "events are answered 503", func() bool {
			_, now := d.counted()
			return now > before+5
		})
		t.Logf("/readyz says: %s", d.failing(c, "journal", 10*time.Second))
		d.checkReads(c)
		remove()
		began := time.Now()
		accepted, _ := d.counted()
		eventually(t, 60*time.Second, "500 events are accepted again", func() bool {
			now, _ := d.counted()
			return now > accepted+500
		})
		d.ready(c, 10*time.Second)
		took = time.Since(began)
	})
	t.Logf("500 events were accepted %v after there was room", took.Round(time.Millisecond))
	d.finish(s, c)
}

// stays checks that /readyz keeps saying the same for some time.
func (d *drill) stays(c *client, want int, length time.Duration) {
	d.t.Helper()
	end := time.Now().Add(length)
	for time.Now().Before(end) {
		if status, failing, err := c.readiness(d.t.Context()); err != nil || status != want {
			d.t.Fatalf("/readyz: status %d, %v, %v; want %d", status, failing, err, want)
		}
	}
}
