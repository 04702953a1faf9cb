//go:build drill

package app

import (
	"os"
	"strconv"

	"github.com/the-eye/eye/internal/store/duckdb"
)

// tuned makes rare things frequent for the crash drill: checkpoints of the store
// (EYE_DRILL_WAL_BYTES) and its segments (EYE_DRILL_SEGMENT_EVENTS). These are
// no settings: outside the drill nobody should have to think of them.
func tuned(o duckdb.Options) duckdb.Options {
	if n, err := strconv.ParseInt(os.Getenv("EYE_DRILL_WAL_BYTES"), 10, 64); err == nil {
		o.WALBytes = n
	}
	if n, err := strconv.Atoi(os.Getenv("EYE_DRILL_SEGMENT_EVENTS")); err == nil {
		o.SegmentEvents = n
	}
	return o
}
