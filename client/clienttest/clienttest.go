// Package clienttest is a stand-in for The Eye in tests of programs that use
// package client.
//
// A Server keeps the outside of the contract in memory: credentials and
// scopes, the rules of the envelope, refusals with violations, duplicates,
// sessions in order, receipts, live streams. It stores events at once and
// forgets them with the test; payload schemas, limits and durability are left
// to the real server. Tests make it fail with Intercept.
package clienttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// OperatorKey is a key with every scope.
const OperatorKey = "operator-key-of-the-test-server-0123456789"

// Request is a request that a Server got.
type Request struct {
	Method string
	Path   string // escaped, with the query
	Header http.Header
	Body   []byte // as it came, compressed if so
}

// Server is an http.Handler that behaves like The Eye. It is safe for
// concurrent use.
type Server struct {
	// Intercept, if set before the first request, sees every request first and
	// returns true when it has answered. The body can be read again after it.
	Intercept func(w http.ResponseWriter, r *http.Request) bool

	mux *http.ServeMux

	mu           sync.Mutex
	requests     []Request
	applications []application
	keys         map[string]principal
	events       []*stored             // in the order of arrival
	byKey        map[[2]string]*stored // application and id
	receipts     map[string]*outcome
	quarantine   []*refused
	position     int
	changed      chan struct{} // closed and replaced when there is something new for live streams
	disconnect   chan struct{} // closed and replaced to end live streams
	lagged       []string      // data of notices to live streams
}

// principal is who a key stands for.
type principal struct {
	application string
	scopes      []string
}

func (p principal) may(scope string) bool {
	return slices.Contains(p.scopes, scope) || slices.Contains(p.scopes, scope+":all")
}

// New returns an empty Server.
func New() *Server {
	s := &Server{
		mux: http.NewServeMux(),
		keys: map[string]principal{OperatorKey: {"operator", []string{
			"events:write", "events:read", "events:read:all", "sql", "quarantine", "types:read", "types:write", "admin",
		}}},
		byKey:      map[[2]string]*stored{},
		receipts:   map[string]*outcome{},
		changed:    make(chan struct{}),
		disconnect: make(chan struct{}),
	}
	s.handle("POST /v1/events", "events:write", s.postEvents)
	s.handle("GET /v1/events", "events:read", s.getEvents)
	s.handle("GET /v1/events/{application}/{id}", "events:read", s.getEvent)
	s.handle("GET /v1/sessions", "events:read", s.getSessions)
	s.handle("GET /v1/sessions/{id}", "events:read", s.getSession)
	s.handle("GET /v1/sessions/{id}/events", "events:read", s.getSessionEvents)
	s.handle("GET /v1/receipts/{receipt}", "", s.getReceipt)
	s.handle("GET /v1/quarantine", "quarantine", s.getQuarantine)
	s.handle("GET /v1/live", "events:read", s.getLive)
	s.handle("GET /v1/applications", "admin", s.getApplications)
	s.handle("POST /v1/applications", "admin", s.postApplication)
	s.handle("POST /v1/applications/{id}/credentials", "admin", s.postCredential)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "Not found", "There is nothing at this address.", nil)
	})
	return s
}

// Start serves on a free port of the loopback until the test ends, and returns
// the address.
func (s *Server) Start(t testing.TB) string {
	t.Helper()
	url, stop := s.Serve()
	t.Cleanup(stop)
	return url
}

// Serve serves on a free port of the loopback until stop is called.
func (s *Server) Serve() (url string, stop func()) {
	server := httptest.NewServer(s)
	return server.URL, func() {
		s.Disconnect() // Close waits for open streams
		server.Close()
	}
}

// ServeHTTP answers like The Eye.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, http.StatusBadRequest, "The body did not arrive whole", "", nil)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.RequestURI(), r.Header.Clone(), body})
	s.mu.Unlock()
	if s.Intercept != nil && s.Intercept(w, r) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mux.ServeHTTP(w, r)
}

// Requests are all requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// handle routes to h whoever has the scope.
func (s *Server) handle(pattern, scope string, h func(http.ResponseWriter, *http.Request, principal)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		who, known := s.keys[key]
		s.mu.Unlock()
		switch {
		case !known:
			w.Header().Set("WWW-Authenticate", `Bearer realm="eye"`)
			problem(w, http.StatusUnauthorized, "Who are you?", "Send a valid key as Authorization: Bearer.", nil)
		case scope != "" && !who.may(scope):
			problem(w, http.StatusForbidden, "Not allowed", "This needs the scope "+scope+".", nil)
		default:
			h(w, r, who)
		}
	})
}

// problem answers with application/problem+json.
func problem(w http.ResponseWriter, status int, title, detail string, extra map[string]any) {
	body := map[string]any{"type": "about:blank", "title": title, "status": status, "request_id": "test-request"}
	if detail != "" {
		body["detail"] = detail
	}
	for k, v := range extra {
		body[k] = v
	}
	w.Header().Set("Content-Type", "application/problem+json")
	reply(w, status, body)
}

// reply answers with v as JSON.
func reply(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // the client may be gone
}

// application is an application as the API shows it.
type application struct {
	ID                     string          `json:"id"`
	Name                   string          `json:"name"`
	Scopes                 []string        `json:"scopes"`
	EventTypes             []string        `json:"event_types,omitempty"`
	Rate                   json.RawMessage `json:"rate,omitempty"`
	FutureToleranceSeconds int             `json:"future_tolerance_seconds"`
}

func (s *Server) getApplications(w http.ResponseWriter, r *http.Request, _ principal) {
	s.mu.Lock()
	items := append([]application{}, s.applications...)
	s.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"items": items, "next": nil})
}

func (s *Server) postApplication(w http.ResponseWriter, r *http.Request, _ principal) {
	a := application{FutureToleranceSeconds: 60}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil || a.ID == "" || a.Name == "" {
		problem(w, http.StatusUnprocessableEntity, "Not an application", "It needs an id and a name.", nil)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.applications, func(b application) bool { return a.ID == b.ID }) {
		problem(w, http.StatusConflict, "Already there", fmt.Sprintf("There is an application %s.", a.ID), nil)
		return
	}
	s.applications = append(s.applications, a)
	reply(w, http.StatusCreated, a)
}

func (s *Server) postCredential(w http.ResponseWriter, r *http.Request, _ principal) {
	var c struct {
		Kind   string   `json:"kind"`
		Scopes []string `json:"scopes"`
	}
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Kind != "api_key" {
		problem(w, http.StatusUnprocessableEntity, "Not a credential", "Its kind has to be api_key.", nil)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.applications, func(a application) bool { return a.ID == r.PathValue("id") })
	if i < 0 {
		problem(w, http.StatusNotFound, "Not found", "There is no such application.", nil)
		return
	}
	a := s.applications[i]
	if len(c.Scopes) == 0 {
		c.Scopes = a.Scopes
	}
	key := fmt.Sprintf("eye_%s_%d", a.ID, len(s.keys))
	s.keys[key] = principal{a.ID, c.Scopes}
	reply(w, http.StatusCreated, map[string]any{
		"id": fmt.Sprintf("c%d", len(s.keys)), "kind": c.Kind, "client_id": a.ID, "secret": key,
		"created_at": time.Now().UTC(),
	})
}

// AddApplication makes an application with a key and returns the key.
func (s *Server) AddApplication(id string, scopes ...string) (key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applications = append(s.applications, application{ID: id, Name: id, Scopes: scopes, FutureToleranceSeconds: 60})
	key = fmt.Sprintf("eye_%s_%d", id, len(s.keys))
	s.keys[key] = principal{id, scopes}
	return key
}
