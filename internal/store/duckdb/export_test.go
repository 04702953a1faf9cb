package duckdb

import "strings"

// LayoutOfData makes new stores compress payloads as the engine chooses when
// compression is "auto", to compare layouts. Not for tests that run in parallel.
func LayoutOfData(compression string) {
	clause := ""
	if compression != "auto" {
		clause = " USING COMPRESSION " + compression
	}
	createSQL = strings.ReplaceAll(createSQL, "NOT NULL USING COMPRESSION zstd,\n  timestamp", "NOT NULL"+clause+",\n  timestamp")
}
