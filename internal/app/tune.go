//go:build !drill

package app

import "github.com/the-eye/eye/internal/store/duckdb"

// tuned is o as it is; see tune_drill.go.
func tuned(o duckdb.Options) duckdb.Options { return o }
