package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/problem"
)

// handler answers a request, or says why not; see fail. Once it has begun to
// answer it must not return an error.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one line of the table.
type route struct {
	method  string
	pattern string // of http.ServeMux, and of the OpenAPI document
	guard   guard
	need    access.Scope // with guard scope
	stream  bool         // stays open as long as the reader likes; its time is not measured
	handle  handler
}

// guard is who may call a route.
type guard int

const (
	scope   guard = iota // whoever has the scope
	known                // whoever has a credential; the handler decides what they see
	nothing              // everybody
)

// routes is every route there is.
func (a *api) routes() []route {
	return []route{
		{method: "POST", pattern: "/v1/events", need: access.EventsWrite, handle: plain(a.Intake)},
		{method: "GET", pattern: "/v1/events", need: access.EventsRead, handle: a.listEvents},
		{method: "GET", pattern: "/v1/events/{application}/{id}", need: access.EventsRead, handle: a.getEvent},
		{method: "GET", pattern: "/v1/sessions", need: access.EventsRead, handle: a.listSessions},
		{method: "GET", pattern: "/v1/sessions/{session_id}", need: access.EventsRead, handle: a.getSession},
		{method: "GET", pattern: "/v1/sessions/{session_id}/events", need: access.EventsRead, handle: a.listSessionEvents},
		{method: "GET", pattern: "/v1/live", need: access.EventsRead, stream: true, handle: plain(a.Live)},
		{method: "GET", pattern: "/v1/receipts/{receipt}", guard: known, handle: a.getReceipt},

		{method: "GET", pattern: "/v1/quarantine", need: access.Quarantine, handle: a.listQuarantine},
		{method: "GET", pattern: "/v1/quarantine/{receipt}", need: access.Quarantine, handle: a.getRefusal},

		{method: "GET", pattern: "/v1/applications", need: access.Admin, handle: a.listApplications},
		{method: "POST", pattern: "/v1/applications", need: access.Admin, handle: a.createApplication},
		{method: "GET", pattern: "/v1/applications/{id}", need: access.Admin, handle: a.getApplication},
		{method: "PATCH", pattern: "/v1/applications/{id}", need: access.Admin, handle: a.changeApplication},
		{method: "DELETE", pattern: "/v1/applications/{id}", need: access.Admin, handle: a.deleteApplication},
		{method: "POST", pattern: "/v1/applications/{id}/credentials", need: access.Admin, handle: a.createCredential},
		{method: "DELETE", pattern: "/v1/applications/{id}/credentials/{credential}", need: access.Admin, handle: a.deleteCredential},

		{method: "GET", pattern: "/healthz", guard: nothing, handle: a.healthz},
		{method: "GET", pattern: "/readyz", guard: nothing, handle: a.readyz},
		{method: "GET", pattern: "/metrics", guard: nothing, handle: plain(a.Metrics)},
		{method: "GET", pattern: "/version", guard: nothing, handle: a.serveVersion},
		{method: "GET", pattern: "/openapi.json", guard: nothing, handle: serveDocument},
		{method: "GET", pattern: "/docs", guard: nothing, handle: serveDocs},
		{method: "GET", pattern: "/docs/docs.css", guard: nothing, handle: serveStyle},
		{method: "GET", pattern: "/problems/{type}", guard: nothing, handle: serveProblem},
	}
}

// plain makes a handler of one that answers everything itself.
func plain(h http.Handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// mux serves the routes. Methods are told apart here rather than by
// http.ServeMux, whose own 404 and 405 are no problem+json.
func (a *api) mux(routes []route) http.Handler {
	methods := make(map[string]map[string]http.Handler)
	for _, rt := range routes {
		if methods[rt.pattern] == nil {
			methods[rt.pattern] = make(map[string]http.Handler)
		}
		h := a.outer(a.metrics.route(rt.method, rt.pattern, rt.stream), a.guarded(rt))
		methods[rt.pattern][rt.method] = h
		if rt.method == http.MethodGet && !rt.stream {
			methods[rt.pattern][http.MethodHead] = h // net/http drops the body
		}
	}
	mux := http.NewServeMux()
	for pattern, byMethod := range methods {
		wrong := a.outer(a.metrics.route("other", pattern, false), methodNotAllowed(byMethod))
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h, ok := byMethod[r.Method]
			if !ok {
				h = wrong
			}
			h.ServeHTTP(w, r)
		})
	}
	missing := a.outer(a.metrics.route("other", "none", false), func(http.ResponseWriter, *http.Request) error {
		return &problem.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such path. /docs lists those that there are."}
	})
	mux.Handle("/", missing)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !clean(r.URL) {
			missing.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// clean tells whether the path is text, and one that http.ServeMux would not
// redirect to a cleaner one. There is nothing to be found by way of . and .. or //.
func clean(u *url.URL) bool {
	if !utf8.ValidString(u.Path) {
		return false
	}
	path := u.RawPath
	if path == "" {
		path = u.Path
	}
	return strings.HasPrefix(path, "/") && !strings.Contains(path, "//") &&
		!strings.Contains(path, "/./") && !strings.Contains(path, "/../") &&
		!strings.HasSuffix(path, "/.") && !strings.HasSuffix(path, "/..")
}

func methodNotAllowed(byMethod map[string]http.Handler) handler {
	var allowed []string
	for method := range byMethod {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", allow)
		return &problem.Problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "This path takes " + allow + "."}
	}
}

// guarded lets through to the route whom its guard lets through.
func (a *api) guarded(rt route) handler {
	if rt.guard == nothing {
		return rt.handle
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		who, err := a.Authenticator.Authenticate(r)
		if err != nil {
			a.metrics.unauthenticated(err)
			access.Unauthorized(w, err)
			return nil
		}
		if e, ok := w.(*exchange); ok {
			e.who = who
		}
		if rt.guard == scope && !who.May(rt.need) {
			access.Forbidden(w, rt.need)
			return nil
		}
		return rt.handle(w, r.WithContext(access.WithPrincipal(r.Context(), who)))
	}
}
