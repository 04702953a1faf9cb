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
		d.cut(v)
		// In between every write fails, which must not confuse anybody.
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

// cut cuts the power. What is answered from then on does not count: the system
// call that ends the file system lets a sync that is under way at that moment
// succeed now and then although it does not reach the disk (3 of 240 files of a
// program that only appends and syncs, Linux 6.18), and when the power is really
// gone nobody answers any more.
func (d *drill) cut(v *volume) {
	d.t.Helper()
	d.dark.Store(true)
	if err := v.cut(); err != nil {
		d.t.Fatal(err)
	}
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
				d.cut(v)
				h.external.kill()
				s.kill()
			})
			v.unmount()
			v.mount()
			records, state := h.records(t)
			missing := d.lost(records, 1)
			acknowledged, lost := len(d.book.positions), len(missing)
			t.Logf("%d records were acknowledged, the last at block %d; %d of them are lost; the journal ends at block %d",
				acknowledged, d.book.high.Block(), lost, state.Last)
			if sync {
				for _, a := range missing {
					t.Logf("LOST: %v, acknowledged at %d in block %d", a.entry, a.position, a.position.Block())
				}
			}
			if acknowledged == 0 || (lost > 0) == sync {
				t.Errorf("%d of %d acknowledged records were lost, with sync = %t", lost, acknowledged, sync)
			}
		})
	}
}
