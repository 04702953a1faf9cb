package catalog

import (
	"testing"

	"github.com/the-eye/eye/internal/access"
)

// TestTheNewestStands: what the watch brings late changes nothing that is known
// to be newer.
func TestTheNewestStands(t *testing.T) {
	t.Parallel()
	app := func(name string) *access.Application { return &access.Application{ID: "a", Name: name} }
	c := &Catalog{known: make(map[string]record)}
	for _, step := range []struct {
		r     record
		taken bool
	}{
		{record{app("first"), 3}, true},
		{record{app("first"), 3}, false},  // the watch brings what was written here
		{record{app("second"), 5}, true},  //
		{record{app("other"), 4}, false},  // written elsewhere in between, arrives late
		{record{nil, 6}, true},            // deleted here
		{record{app("second"), 5}, false}, // must not bring it back
		{record{nil, 7}, true},            // the deletion itself
		{record{app("again"), 8}, true},
	} {
		if got := c.take("application.a", step.r); got != step.taken {
			t.Errorf("take(%+v) = %v; want %v", step.r, got, step.taken)
		}
	}

	// A new watch finds the whole bucket: what is gone altogether was purged,
	// unless it was written here after that.
	c.known["application.purged"] = record{app("x"), 2}
	c.known["application.fresh"] = record{app("x"), 11}
	c.takeAll(map[string]record{"application.a": {app("newest"), 10}})
	if _, ok := c.known["application.purged"]; ok {
		t.Error("what was purged is still known")
	}
	if _, ok := c.known["application.fresh"]; !ok {
		t.Error("what was written since is no longer known")
	}
	if got := c.known["application.a"].application.Name; got != "newest" {
		t.Errorf("a is %s; want newest", got)
	}
}
