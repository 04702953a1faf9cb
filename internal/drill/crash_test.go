package drill_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// points are the places to die at, with how often one may be passed before.
var points = []struct {
	name string
	most int
}{
	{"journal.before_sync", 60},
	{"journal.after_sync", 60},
	{"store.transaction", 6},
	{"store.checkpoint", 12},
}

// TestCrash kills the program again and again under load.
func TestCrash(t *testing.T) {
	t.Parallel()
	d := newDrill(t, newHome(t.TempDir()))
	s, c := d.begin()
	short := len(points) + 4
	if testing.Short() {
		short = 3
	}
	for round := range rounds(short) {
		d.crashRound(s, c, round)
		for range d.rand.IntN(3) { // and again while it starts
			starting := d.home.spawn(t, "")
			select {
			case <-time.After(time.Duration(d.rand.IntN(300)) * time.Millisecond):
			case <-starting.gone:
				t.Fatalf("a start ended by itself: %v; log:\n%s", starting.state, starting.lastLines())
			}
			starting.kill()
			d.deaths["kill -9 while starting"]++
		}
		s, c = d.begin()
		d.settle(s, c)
		if round%25 == 24 {
			d.checkAll(s, c)
		}
	}
	d.finish(s, c)
	if !testing.Short() {
		for _, p := range points {
			if d.deaths[p.name] == 0 {
				t.Errorf("nothing died at %s", p.name)
			}
		}
	}
}

// crashRound puts load on a server until it dies in one way or another.
func (d *drill) crashRound(s *server, c *client, round int) {
	d.t.Helper()
	length := time.Duration(100+d.rand.IntN(900)) * time.Millisecond
	kind := round % (len(points) + 4)
	if kind < len(points) {
		point := points[kind]
		s.kill() // with nothing under way
		d.deaths["kill -9 idle"]++
		s = d.home.start(d.t, fmt.Sprintf("%s:%d", point.name, 1+d.rand.IntN(point.most)))
		d.starts = append(d.starts, s.took)
		ctx, cancel := context.WithTimeout(d.t.Context(), 8*time.Second)
		defer cancel()
		d.loadFor(ctx, s, newClient(d.t, d.home, s))
		if s.ended() {
			d.deaths[point.name]++
			return
		}
		d.deaths[point.name+" not reached"]++
		s.kill()
		return
	}
	if kind == len(points) {
		d.loadUntil(s, c, length, s.stop) // in the middle of it
		d.deaths["SIGTERM"]++
		return
	}
	d.loadUntil(s, c, length, s.kill)
	d.deaths["kill -9 under load"]++
}
