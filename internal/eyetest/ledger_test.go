package eyetest_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/eyetest"
	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
)

// ledgerOf is the ledger of a service that has stopped, over all time, by
// application and type.
func ledgerOf(t *testing.T, s *eyetest.Service) map[string]store.Count {
	t.Helper()
	st, err := duckdb.Open(t.Context(), duckdb.Options{
		Path: filepath.Join(s.Data, "store", "eye.duckdb"), MemoryLimit: 256 << 20, Threads: 1, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	counts, err := st.Ledger(t.Context(), 0, event.Now(time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]store.Count{}
	for _, c := range counts {
		if c.Received != c.Stored+c.Duplicate+c.Quarantined+c.Discarded {
			t.Errorf("ledger row %+v does not balance", c)
		}
		key := fmt.Sprintf("%s %s/%s", c.Application, c.Category, c.Name)
		sum := sums[key]
		sum.Received += c.Received
		sum.Stored += c.Stored
		sum.Duplicate += c.Duplicate
		sum.Quarantined += c.Quarantined
		sum.Discarded += c.Discarded
		sums[key] = sum
	}
	return sums
}

func TestLedgerAndMetricsAgreeWithWhatWasSent(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	shop, checkout := s.NewApplication(t, "web-shop", all...), s.NewApplication(t, "checkout", all...)
	typed := func(id, category, more string) string {
		return fmt.Sprintf(`{"id":%q,"session_id":"s","category":%q,"name":"n","data":{},"timestamp":"2021-01-01T00:00:00Z"%s}`, id, category, more)
	}
	for i := range 10 {
		s.PostWait(t, shop, batch(
			typed(fmt.Sprintf("a-%d", i), "a", ""),
			typed(fmt.Sprintf("b-%d", i), "b", ""),
			typed(fmt.Sprintf("a-%d", i), "a", ""),         // within the batch
			typed(fmt.Sprintf("bad-%d", i), "b", `,"x":1`), // unknown field
			typed("a-0", "a", ""),                          // across batches, but for the first
		)).Want(t, 200)
		s.PostWait(t, checkout, typed(fmt.Sprintf("a-%d", i), "a", "")).Want(t, 200)
	}
	s.Post(t, checkout, "no json").Want(t, 400)
	s.Post(t, checkout, "").Want(t, 400)
	s.Post(t, "", typed("nobody", "a", "")).Want(t, 401) // nobody's, so nowhere

	eyetest.Eventually(t, "all refusals are processed", func() bool {
		return s.Metric(t, "eye_process_records_total", `disposition="quarantined"`) == 12
	})
	for _, m := range []struct {
		name  string
		want  float64
		label []string
	}{
		{"eye_ingest_accepted_total", 50, nil},
		{"eye_ingest_refused_total", 12, nil},
		{"eye_ingest_refused_total", 10, []string{`code="unknown_field"`}},
		{"eye_ingest_requests_total", 20, []string{`status="200"`}},
		{"eye_ingest_requests_total", 2, []string{`status="400"`}},
		{"eye_ingest_in_flight_bytes", 0, nil},
		{"eye_process_records_total", 30, []string{`disposition="stored"`}},
		{"eye_process_records_total", 20, []string{`disposition="duplicate"`}},
		{"eye_process_failures_total", 0, nil},
		{"eye_process_lost_blocks_total", 0, nil},
		{"eye_process_healthy", 1, nil},
		{"eye_http_requests_total", 20, []string{`route="/v1/events"`, `method="POST"`, `status="200"`}},
		{"eye_http_unauthenticated_total", 1, []string{`reason="missing"`}},
	} {
		if got := s.Metric(t, m.name, m.label...); got != m.want {
			t.Errorf("%s%v = %v; want %v", m.name, m.label, got, m.want)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	want := map[string]store.Count{
		"web-shop a/n": {Received: 30, Stored: 10, Duplicate: 20},
		"web-shop b/n": {Received: 20, Stored: 10, Quarantined: 10},
		"checkout a/n": {Received: 10, Stored: 10},
		"checkout /":   {Received: 2, Quarantined: 2},
	}
	if diff := cmp.Diff(want, ledgerOf(t, s)); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}
