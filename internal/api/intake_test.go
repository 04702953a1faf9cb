package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/ingest"
	"github.com/the-eye/eye/internal/store"
)

// journalled is a journal that takes everything and has processed it at once.
type journalled struct{ err error }

func (j journalled) Append(context.Context, []byte, int) (event.Position, error) {
	return event.At(1, 0), j.err
}
func (journalled) MaxAppendBytes() int                         { return 32 << 20 }
func (journalled) Await(context.Context, event.Position) error { return nil }
func (journalled) Dispositions(_ context.Context, first, last event.Position) ([]event.Disposition, error) {
	fates := make([]event.Disposition, last-first+1)
	for i := range fates {
		fates[i] = event.Stored
	}
	return fates, nil
}

// TestIntakeConforms holds what the real intake answers against the document.
func TestIntakeConforms(t *testing.T) {
	t.Parallel()
	const (
		good = `{"id":"1","session_id":"s","category":"c","name":"n","data":{},"timestamp":"2026-01-02T12:00:00Z"}`
		bad  = `{"id":"2","category":"c","name":"n","data":[],"timestamp":"x"}`
	)
	for _, test := range []struct {
		name, body string
		headers    []string
		err        error
		status     int
	}{
		{"one", good, nil, nil, 202},
		{"one, waiting", good, []string{"Prefer", "wait=5"}, nil, 200},
		{"batch", "[" + good + "," + bad + "]", nil, nil, 202},
		{"batch, told all", "[" + good + "," + bad + "]", []string{"Prefer", "return=representation"}, nil, 202},
		{"batch, waiting", "[" + good + "]", []string{"Prefer", "wait=5, return=representation"}, nil, 200},
		{"lines", good + "\n" + good, []string{"Content-Type", "application/x-ndjson"}, nil, 202},
		{"one refused", bad, nil, nil, 422},
		{"all refused", "[" + bad + "," + bad + "]", nil, nil, 422},
		{"no JSON", "{", nil, nil, 400},
		{"empty batch", "[]", nil, nil, 400},
		{"bad preference", good, []string{"Prefer", "wait=99"}, nil, 400},
		{"media type", good, []string{"Content-Type", "text/csv"}, nil, 415},
		{"coding", good, []string{"Content-Encoding", "br"}, nil, 415},
		{"too large", "[" + strings.Repeat(good+",", 20) + good + "]", nil, nil, 413},
		{"no journal", good, nil, errors.New("disk full"), 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			auth, err := access.NewAuthenticator(operatorKey, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.DiscardHandler)
			s.handler = api.New(api.Options{
				Log: log, Authenticator: auth, Catalog: s.catalog, Receipts: s.receipts,
				Reader: func() (store.Reader, error) { return s.store, nil }, Committed: func() uint64 { return 0 }, Pending: pendingNothing,
				Intake: ingest.New(ingest.Options{
					Log: log, Registerer: prometheus.NewRegistry(), Journal: journalled{test.err}, Outcomes: journalled{}, Receipts: s.receipts,
					Limits: ingest.Limits{EventBytes: 1 << 10, RequestEvents: 10, RequestBytes: 1 << 20, InFlightBytes: 64 << 20},
					Now:    func() time.Time { return noon },
				}),
				Live: s.handler, Metrics: s.handler,
			})
			if a := s.do("POST", "/v1/events", operatorKey, test.body, test.headers...); a.status != test.status {
				t.Errorf("POST /v1/events = %d %s; want %d", a.status, a.body, test.status)
			}
		})
	}
}

// TestLiveFilter: a live stream is asked for as a list is, and shows no more.
func TestLiveFilter(t *testing.T) {
	t.Parallel()
	filter := func(query string, scopes ...access.Scope) (store.Filter, error) {
		r := httptest.NewRequest("GET", "/v1/live?"+query, nil)
		who := &access.Principal{Application: "web", Scopes: access.ScopesOf(scopes...).Granted()}
		return api.LiveFilter(r.WithContext(access.WithPrincipal(r.Context(), who)))
	}
	if f, err := filter("category=c&data.a=1", access.EventsRead); err != nil || f.Application != "web" || f.Category != "c" || len(f.Data) != 1 {
		t.Errorf("LiveFilter = %+v, %v; want web's of category c with a", f, err)
	}
	if f, err := filter("", access.EventsReadAll); err != nil || f.Application != "" {
		t.Errorf("LiveFilter = %+v, %v; want everybody's", f, err)
	}
	f, err := filter("application=other", access.EventsRead)
	if err != nil || f.Application == "other" || f.Application == "" || access.CheckID(f.Application) == nil {
		t.Errorf("LiveFilter of another application's = %+v, %v; want an application that cannot be", f, err)
	}
	for _, query := range []string{"limit=5", "cursor=x", "from=x", "data.=1"} {
		if f, err := filter(query, access.EventsReadAll); err == nil {
			t.Errorf("LiveFilter(%s) = %+v; want a problem", query, f)
		}
	}
}
