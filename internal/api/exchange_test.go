package api_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// rebuilt is the API over the same fakes with another Committed.
func (s *server) rebuilt(committed func() uint64) http.Handler {
	auth, err := access.NewAuthenticator(operatorKey, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return api.New(api.Options{
		Log: slog.New(slog.DiscardHandler), Authenticator: auth, Catalog: s.catalog, Receipts: s.receipts,
		Reader: func() (store.Reader, error) { return s.store, nil }, Committed: committed,
		Pending: pendingNothing,
		Intake:  http.NotFoundHandler(), Live: http.NotFoundHandler(), Metrics: http.NotFoundHandler(),
	})
}

func TestUnknownPathsAndWrongMethods(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/events/", "/v1/events/a", "/v1/nothing", "/docs/", "/docs/x", "/problems/", "//v1/events", "/v1//events", "/v1/./events", "/v1/events/../events", "/v1/events/a/..", "/v1/events/a/."} {
		s.problem(s.get(path, operatorKey, 404), 404, "", "")
	}
	for call, allow := range map[string]string{
		"PUT /v1/events":                                 "GET, HEAD, POST",
		"DELETE /v1/events/a/b":                          "GET, HEAD",
		"POST /v1/sessions":                              "GET, HEAD",
		"PUT /v1/applications/a":                         "DELETE, GET, HEAD, PATCH",
		"GET /v1/applications/a/credentials":             "POST",
		"POST /healthz":                                  "GET, HEAD",
		"OPTIONS /v1/events":                             "GET, HEAD, POST",
		"HEAD /v1/live":                                  "GET", // it would never end
		"BREW /v1/quarantine":                            "GET, HEAD",
		"GET /v1/applications/shop/credentials/whatever": "DELETE",
	} {
		method, path, _ := strings.Cut(call, " ")
		a := s.do(method, path, "", "")
		s.problem(a, 405, "", "")
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow = %s; want %s", call, got, allow)
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for given, kept := range map[string]bool{
		"abc-123_X.y:z/+=":       true,
		strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false,
		"":                       false,
		"a b":                    false,
		"a\"b":                   false,
		"é":                      false,
		"<script>":               false,
	} {
		a := s.do("GET", "/v1/nothing", "", "", "X-Request-Id", given)
		got := a.header.Get("X-Request-Id")
		if (got == given) != kept || len(got) < 16 && !kept {
			t.Errorf("X-Request-Id %q is answered with %q; want it kept: %v", given, got, kept)
		}
		if p := decode[problemBody](t, a); p.RequestID != got {
			t.Errorf("request_id = %q; want %q", p.RequestID, got)
		}
	}
	if a, b := s.get("/healthz", "", 200), s.get("/healthz", "", 200); a.header.Get("X-Request-Id") == b.header.Get("X-Request-Id") {
		t.Error("two requests got one id")
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.do("POST", "/v1/events", operatorKey, `{}`, "X-Panic", "1")
	s.problem(a, 500, "internal", "")
	if strings.Contains(a.body, "secret") || !strings.Contains(s.logs.String(), "secret of the handler") {
		t.Errorf("answer = %s; want nothing internal there and all of it in the log", a.body)
	}

	// In the middle of an answer the connection is cut, so that nobody takes it
	// for a whole one.
	server := httptest.NewServer(s.handler)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+operatorKey)
	r.Header.Set("X-Panic", "1")
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the answer ended as if it were whole")
	}
}

// TestStreamThroughTheWrapper: a handler that streams finds what it needs below
// the ResponseWriter that it is given.
func TestStreamThroughTheWrapper(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	server := httptest.NewServer(s.handler)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+operatorKey)
	r.Header.Set("X-Real", "1")
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "data: {}\n\n" || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("GET /v1/live = %s %q, %v", response.Header.Get("Content-Type"), body, err)
	}
}

func TestRequestsAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(event.Event{Application: "web", ID: "private", SessionID: "s", Timestamp: at(0), Sequence: event.NoSequence})
	s.get("/v1/events/web/private", operatorKey, 200)
	s.get("/v1/events/web/other", operatorKey, 404)
	s.get("/v1/events/web/other", "", 401)
	s.do("PUT", "/v1/events", "", "")
	s.get("/nowhere", "", 404)
	want := map[string]float64{
		"eye_http_requests_total GET /v1/events/{application}/{id} 200": 1,
		"eye_http_requests_total GET /v1/events/{application}/{id} 401": 1,
		"eye_http_requests_total GET /v1/events/{application}/{id} 404": 1,
		"eye_http_requests_total other /v1/events 405":                  1,
		"eye_http_requests_total other none 404":                        1,
		"eye_http_unauthenticated_total missing":                        1,
	}
	if d := cmp.Diff(want, s.counters()); d != "" {
		t.Errorf("counters (-want +got)\n%s", d)
	}
	log := s.logs.String()
	if !strings.Contains(log, "route=/v1/events/{application}/{id} status=200 application=operator") {
		t.Errorf("log = %s; want the request", log)
	}
	if strings.Contains(log, "private") || strings.Contains(log, operatorKey) {
		t.Errorf("log = %s; want nothing that was sent", log)
	}
}

// counters is every counter by its name and the values of its labels.
func (s *server) counters() map[string]float64 {
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	counters := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if m.GetCounter() == nil {
				continue
			}
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			counters[name] = m.GetCounter().GetValue()
		}
	}
	return counters
}
