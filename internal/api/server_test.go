package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/catalog"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const operatorKey = "operator-key-0123456789-0123456789"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// applications is a Catalog in memory that tells the Authenticator.
type applications struct {
	mu      sync.Mutex
	byID    map[string]access.Application // guarded by mu
	changed func([]access.Application)
	err     error // given by every writing call, if set
}

func (c *applications) list() []access.Application {
	var list []access.Application
	for _, a := range c.byID {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b access.Application) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (c *applications) Applications() []access.Application {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list()
}

func (c *applications) Application(id string) (access.Application, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.byID[id]
	if !ok {
		return a, catalog.ErrNotFound
	}
	return a, nil
}

func (c *applications) CreateApplication(_ context.Context, app access.Application) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if _, ok := c.byID[app.ID]; ok {
		return catalog.ErrExists
	}
	c.byID[app.ID] = app.Clone()
	c.changed(c.list())
	return nil
}

func (c *applications) UpdateApplication(_ context.Context, id string, change func(*access.Application) error) (access.Application, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return access.Application{}, c.err
	}
	a, ok := c.byID[id]
	if !ok {
		return a, catalog.ErrNotFound
	}
	a = a.Clone()
	// As if somebody else had been faster the first time.
	lost := a.Clone()
	if err := change(&lost); err != nil {
		return a, err
	}
	if err := change(&a); err != nil {
		return a, err
	}
	c.byID[id] = a
	c.changed(c.list())
	return a.Clone(), nil
}

func (c *applications) DeleteApplication(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if _, ok := c.byID[id]; !ok {
		return catalog.ErrNotFound
	}
	delete(c.byID, id)
	c.changed(c.list())
	return nil
}

// server is the API over fakes.
type server struct {
	t        testing.TB
	handler  http.Handler
	store    *memory
	catalog  *applications
	receipts *event.Receipts
	registry *prometheus.Registry
	logs     *syncBuffer

	mu        sync.Mutex
	down      error // guarded by mu, as all below
	committed uint64
	journal   map[event.Position]event.Record
	checks    []api.Check
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newServer(t testing.TB) *server {
	t.Helper()
	auth, err := access.NewAuthenticator(operatorKey, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	receipts, err := event.NewReceipts([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		t:         t,
		store:     &memory{duplicates: map[event.Position]store.Duplicate{}},
		catalog:   &applications{byID: map[string]access.Application{}, changed: auth.Update},
		receipts:  receipts,
		registry:  prometheus.NewRegistry(),
		logs:      &syncBuffer{},
		committed: 100,
		journal:   map[event.Position]event.Record{},
		checks:    []api.Check{{Name: "journal", OK: true}, {Name: "store", OK: true}},
	}
	s.handler = api.New(api.Options{
		Log:           slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer:    s.registry,
		Authenticator: auth,
		Catalog:       s.catalog,
		Receipts:      receipts,
		Reader: func() (store.Reader, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.down != nil {
				return nil, s.down
			}
			return s.store, nil
		},
		Committed: func() uint64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.committed
		},
		Pending: func(_ context.Context, p event.Position) (event.Record, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			record, ok := s.journal[p]
			if !ok {
				return record, store.ErrNotFound
			}
			return record, nil
		},
		Intake: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Panic") != "" {
				panic("secret of the handler")
			}
			who := access.FromContext(r.Context())
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintf(w, `{"status":"accepted","id":%q,"receipt":"r"}`, who.Application)
		}),
		Live: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil && r.Header.Get("X-Real") != "" {
				panic(err)
			}
			if r.Header.Get("X-Panic") != "" {
				panic("in the middle")
			}
			io.WriteString(w, "data: {}\n\n")
		}),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			io.WriteString(w, "eye 1\n")
		}),
		Alive:   func(context.Context) []api.Check { return nil },
		Ready:   func(context.Context) []api.Check { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.checks) },
		Version: api.Version{Version: "0.1.0", Go: "go1.26"},
		Now:     func() time.Time { return noon },
	})
	return s
}

// key makes an application with those scopes, if it is not there, and a key.
func (s *server) key(id string, scopes ...access.Scope) string {
	s.t.Helper()
	credential, key := access.NewAPIKey("cred-"+access.NewKey()[4:12], 0, noon, time.Time{})
	err := s.catalog.CreateApplication(context.Background(), access.Application{
		ID: id, Name: id, Scopes: access.ScopesOf(scopes...), CreatedAt: noon, FutureToleranceSeconds: 60,
		Credentials: []access.Credential{credential},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// answer is an answer, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request, with a key unless it is "", and holds the answer against
// the OpenAPI document.
func (s *server) do(method, target, key, body string, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := answer{w.Code, w.Result().Header, w.Body.String()}
	if a.header.Get("X-Request-Id") == "" {
		s.t.Errorf("%s %s: no X-Request-Id", method, target)
	}
	s.conforms(method, r.URL, a)
	return a
}

// get is do with GET, and wants that status.
func (s *server) get(target, key string, status int) answer {
	s.t.Helper()
	a := s.do("GET", target, key, "")
	if a.status != status {
		s.t.Errorf("GET %s = %d %s; want %d", target, a.status, a.body, status)
	}
	return a
}

// decode reads a JSON body.
func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return v
}

type list[T any] struct {
	Items []T
	Next  *string
}

type problemBody struct {
	Type, Title, Detail string
	Status              int
	RequestID           string `json:"request_id"`
	Violations          []event.Violation
	Checks              []api.Check
}

// problem reads a problem and checks what all of them have.
func (s *server) problem(a answer, status int, slug, pointer string) problemBody {
	s.t.Helper()
	p := decode[problemBody](s.t, a)
	if a.status != status || p.Status != status || a.header.Get("Content-Type") != "application/problem+json" || p.RequestID == "" {
		s.t.Errorf("answer = %d %s %s; want the problem %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	want := "/problems/" + slug
	if slug == "" {
		want = "about:blank"
	} else if !slices.Contains(api.ProblemTypes(), slug) {
		s.t.Errorf("the type %s is not explained anywhere", slug)
	}
	if p.Type != want {
		s.t.Errorf("type = %s; want %s: %s", p.Type, want, a.body)
	}
	if pointer != "" && (len(p.Violations) == 0 || p.Violations[0].Pointer != pointer) {
		s.t.Errorf("violations = %+v; want one at %s", p.Violations, pointer)
	}
	return p
}

// openAPI is the document as kin-openapi has read it.
var openAPI = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(api.DocumentYAML())
})

// patterns finds the route of a path as the server does.
var patterns = sync.OnceValue(func() *http.ServeMux {
	mux := http.NewServeMux()
	seen := make(map[string]bool)
	for _, rt := range api.Routes() {
		if !seen[rt.Pattern] {
			mux.Handle(rt.Pattern, http.NotFoundHandler())
		}
		seen[rt.Pattern] = true
	}
	return mux
})

// conforms holds an answer against what the document says of its route.
func (s *server) conforms(method string, u *url.URL, a answer) {
	s.t.Helper()
	doc, err := openAPI()
	if err != nil {
		s.t.Fatal(err)
	}
	_, pattern := patterns().Handler(&http.Request{Method: "GET", URL: u, Host: "eye"})
	item := doc.Paths.Value(pattern)
	if item == nil || item.GetOperation(method) == nil {
		return // no such route; what such requests are answered is tested on its own
	}
	responses := item.GetOperation(method).Responses
	response := responses.Status(a.status)
	if response == nil {
		response = responses.Default()
	}
	if response == nil {
		s.t.Errorf("%s %s = %d, of which the document says nothing", method, pattern, a.status)
		return
	}
	for name := range response.Value.Headers {
		if name != "RateLimit" && name != "RateLimit-Policy" && a.header.Get(name) == "" && (a.status != 403 || name != "WWW-Authenticate") {
			s.t.Errorf("%s %s = %d without the header %s", method, pattern, a.status, name)
		}
	}
	contentType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if len(response.Value.Content) == 0 {
		if a.body != "" {
			s.t.Errorf("%s %s = %d with a body, of which the document says nothing", method, pattern, a.status)
		}
		return
	}
	media := response.Value.Content.Get(contentType)
	if media == nil {
		s.t.Errorf("%s %s = %d as %q, of which the document says nothing", method, pattern, a.status, contentType)
		return
	}
	if !strings.HasSuffix(contentType, "json") {
		return
	}
	var value any
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		s.t.Errorf("%s %s = %q: %v", method, pattern, a.body, err)
		return
	}
	if err := doc.ValidateSchemaJSON(media.Schema.Value, value); err != nil {
		s.t.Errorf("%s %s = %d %s: %v", method, pattern, a.status, a.body, err)
	}
}

// add stores events, giving positions and what is left out.
func (s *server) add(events ...event.Event) {
	for _, e := range events {
		if e.Position == 0 {
			e.Position = event.At(1, len(s.store.events)+len(s.store.refusals))
		}
		if e.ID == "" {
			e.ID = fmt.Sprintf("e%d", e.Position.Index())
		}
		if e.Category == "" {
			e.Category, e.Name = "page", "view"
		}
		if e.Data == nil {
			e.Data = []byte(`{}`)
		}
		e.ReceivedAt = event.Now(noon)
		s.store.events = append(s.store.events, e)
	}
}

// at is the instant that many seconds after noon.
func at(seconds int) event.Micros {
	return event.Now(noon.Add(time.Duration(seconds) * time.Second))
}
