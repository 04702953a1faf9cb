package duckdb

import "strings"

// LayoutOfData makes new stores compress payloads otherwise than they do, to
// compare layouts: "zstd", or "auto" for the engine's own choice. Not for tests
// that run in parallel.
func LayoutOfData(compression string) {
	createSQL = strings.ReplaceAll(createSQL, "zstd", compression)
}
