package duckdb

import _ "embed"

// Statements of more than a line or two. Where one has verbs for positions,
// these are filled with integers; text is always a parameter.
var (
	//go:embed sql/seal_spans.sql
	sealSpansSQL string
	//go:embed sql/fold_ledger.sql
	foldLedgerSQL string
	//go:embed sql/sessions.sql
	sessionsSQL string
	//go:embed sql/spans.sql
	spansSQL string
	//go:embed sql/tail_spans.sql
	tailSpansSQL string
	//go:embed sql/sealed_spans.sql
	sealedSpansSQL string
	//go:embed sql/places.sql
	placesSQL string
	//go:embed sql/session_events.sql
	sessionEventsSQL string
	//go:embed sql/dispositions.sql
	dispositionsSQL string
	//go:embed sql/ledger.sql
	ledgerSQL string
)
