package duckdb_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
	"github.com/the-eye/eye/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options duckdb.Options
	}{
		{"everything in the tail", duckdb.Options{}},
		{"nearly everything sealed", duckdb.Options{SegmentEvents: 8}},
		{"always in a checkpoint", duckdb.Options{SegmentEvents: 16, WALBytes: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T, dir string) store.Store { return open(t, dir, test.options) })
		})
	}
}

// open opens the store in dir. It is the caller's to close.
func open(t testing.TB, dir string, o duckdb.Options) *duckdb.Store {
	t.Helper()
	o.Path = filepath.Join(dir, "store.duckdb")
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := duckdb.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open(%+v) = %v", o, err)
	}
	return s
}
