package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// pendingNothing is a journal with nothing in it.
func pendingNothing(context.Context, event.Position) (event.Record, error) {
	return event.Record{}, store.ErrNotFound
}

var benchRow = store.Row{
	Event: event.Event{
		Application: "web-shop", ID: "0191f2a4-7c3e-7a1b-9d55-0123456789ab", SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423",
		Category: "page interaction", Name: "cta click",
		Data:      []byte(`{"host":"www.example.com","path":"/products/shoes/running?utm_source=newsletter","element":"chat bubble","viewport":{"width":1440,"height":900},"referrer":"https://search.example/?q=shoes","ab":["checkout-b","hero-c"],"price":129.90,"currency":"EUR","logged_in":false}`),
		Timestamp: 1609492527243860, Sequence: 12, ReceivedAt: 1609492527300000, Position: event.At(812, 17), SchemaVersion: 3,
	},
	Place: 42,
}

func BenchmarkAppendEvent(b *testing.B) {
	receipts, err := event.NewReceipts(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	buf := api.AppendEvent(nil, &benchRow, receipts)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = api.AppendEvent(buf[:0], &benchRow, receipts)
	}
}

// BenchmarkListEvents is a page of 100 from a store that costs nothing.
func BenchmarkListEvents(b *testing.B) {
	s := newServer(b)
	rows := make([]store.Row, 100)
	for i := range rows {
		rows[i] = benchRow
	}
	h := benchAPI(b, fixed{s.store, rows}, http.NotFoundHandler())
	r := httptest.NewRequest("GET", "/v1/events?category=page+interaction&limit=100", nil)
	r.Header.Set("Authorization", "Bearer "+operatorKey)
	b.ReportAllocs()
	for b.Loop() {
		w := &sink{header: make(http.Header)}
		h.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
	b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAroundIntake is what the API adds to every request that sends
// events: the id, the route, the credential, the count.
func BenchmarkAroundIntake(b *testing.B) {
	s := newServer(b)
	h := benchAPI(b, s.store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) }))
	r := httptest.NewRequest("POST", "/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+operatorKey)
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

func benchAPI(b *testing.B, reader store.Reader, intake http.Handler) http.Handler {
	b.Helper()
	auth, err := access.NewAuthenticator(operatorKey, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	receipts, err := event.NewReceipts(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	return api.New(api.Options{
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Authenticator: auth, Receipts: receipts,
		Reader:    func() (store.Reader, error) { return reader, nil },
		Committed: func() uint64 { return 0 }, Pending: pendingNothing,
		Intake: intake, Live: http.NotFoundHandler(), Metrics: http.NotFoundHandler(),
	})
}

// fixed gives always the same events.
type fixed struct {
	*memory
	rows []store.Row
}

func (f fixed) Events(context.Context, store.EventQuery) ([]store.Row, error) { return f.rows, nil }

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
