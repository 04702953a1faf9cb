package drill_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestPowerLoss cuts the power under load: the file system forgets whatever
// nobody synced, and the process does not live to notice, or for a moment only.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 4<<30, "")
	d := newDrill(t, newHome(filepath.Join(v.dir, "data"), "EYE_JOURNAL_MAX_BYTES=1GiB"))
	s, c := d.begin()
	for range rounds(3) {
		d.powerRound(v, s, c)
		v.unmount()
		v.mount()
		s, c = d.begin()
		d.settle(s, c)
	}
	d.finish(s, c)
}

// powerRound puts load on the server until the power fails.
func (d *drill) powerRound(v *volume, s *server, c *client) {
	d.t.Helper()
	d.loadUntil(s, c, time.Duration(100+d.rand.IntN(900))*time.Millisecond, func() {
		if err := v.cut(); err != nil {
			d.t.Fatal(err)
		}
		// In between every write fails; nothing may be acknowledged then, and
		// if it is, it will be found missing.
		if d.rand.IntN(2) == 0 {
			select {
			case <-time.After(time.Duration(d.rand.IntN(200)) * time.Millisecond):
			case <-s.gone: // giving up is fine when the disk has
			}
		}
		s.kill()
	})
	d.deaths["power loss"]++
}

// TestPowerLossIsNoticed shows that the drill can fail: when the journal server
// does not sync before it acknowledges, the power cut takes acknowledged events
// along; when it does, and all else is the same, it takes none.
func TestPowerLossIsNoticed(t *testing.T) {
	t.Parallel()
	for _, sync := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync=%t", sync), func(t *testing.T) {
			v := newVolume(t, 4<<30, "")
			h := newHome(filepath.Join(v.dir, "data"), "EYE_JOURNAL_MAX_BYTES=1GiB")
			h.external = startNATS(t, h.journalDir(), sync)
			d := newDrill(t, h)
			if err := v.sync(); err != nil { // what the set-up wrote shall not be missed
				t.Fatal(err)
			}
			s, c := d.begin()
			d.loadUntil(s, c, time.Second, func() {
				if err := v.cut(); err != nil {
					t.Fatal(err)
				}
				h.external.kill()
				s.kill()
			})
			v.unmount()
			v.mount()
			records, _ := h.records(t)
			acknowledged, lost := len(d.book.positions), len(d.lost(records, 1))
			t.Logf("%d records were acknowledged; %d of them are lost", acknowledged, lost)
			if acknowledged == 0 || (lost > 0) == sync {
				t.Errorf("%d of %d acknowledged records were lost, with sync = %t", lost, acknowledged, sync)
			}
		})
	}
}
