package api

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/catalog"
	"github.com/the-eye/eye/internal/problem"
	"github.com/the-eye/eye/internal/store"
)

// exchange is one request being answered: the ResponseWriter that handlers see,
// and what is to be counted and logged in the end.
type exchange struct {
	http.ResponseWriter
	status int // 0 until the answer has begun
	who    *access.Principal
}

// Unwrap lets http.ResponseController find what lies below.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *exchange) WriteHeader(status int) {
	if e.status == 0 && status >= 200 {
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *exchange) Write(b []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	return e.ResponseWriter.Write(b)
}

// Flush is for handlers that stream and know http.Flusher only.
func (e *exchange) Flush() {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	http.NewResponseController(e.ResponseWriter).Flush() // an error here comes back with the next Write
}

var noSniff = []string{"nosniff"}

// outer is what every request goes through first and last.
func (a *api) outer(m *routeMetrics, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := requestID(r)
		header := w.Header()
		header[problem.RequestIDHeader] = []string{id}
		header["X-Content-Type-Options"] = noSniff
		e := &exchange{ResponseWriter: w}
		m.begin()
		defer func() {
			cut := false
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					m.end(499, time.Since(began))
					panic(p)
				}
				a.Log.Error("a handler panicked", "request", id, "method", r.Method, "route", m.pattern, "panic", p, "stack", string(debug.Stack()))
				if e.status == 0 {
					internal.Write(e)
				} else {
					cut = true
				}
			}
			if e.status == 0 {
				e.status = http.StatusOK // the handler wrote nothing, which net/http makes a 200
			}
			m.end(e.status, time.Since(began))
			if a.Log.Enabled(r.Context(), slog.LevelDebug) {
				a.logRequest(r, e, m.pattern, id, time.Since(began))
			}
			if cut {
				panic(http.ErrAbortHandler) // so that the reader does not take half an answer for a whole one
			}
		}()
		if err := h(e, r); err != nil {
			a.fail(e, r, err)
		}
	})
}

func (a *api) logRequest(r *http.Request, e *exchange, pattern, id string, took time.Duration) {
	application := ""
	if e.who != nil {
		application = e.who.Application
	}
	// The path and the query may hold what an application sent, so the route
	// stands for them.
	a.Log.Debug("request", "request", id, "method", r.Method, "route", pattern,
		"status", e.status, "application", application, "took", took)
}

// requestID is the id that the caller gave the request if it is sane, or a
// fresh one.
func requestID(r *http.Request) string {
	if given := r.Header[problem.RequestIDHeader]; len(given) == 1 && saneID(given[0]) {
		return given[0]
	}
	// It need not be secret, only different.
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [20]byte
	for i := 0; i < len(b); i += 10 {
		n := rand.Uint64()
		for k := range 10 {
			b[i+k] = digits[n&31]
			n >>= 5
		}
	}
	return string(b[:])
}

func saneID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':' && c != '/' && c != '+' && c != '=' {
			return false
		}
	}
	return true
}

var (
	internal = &problem.Problem{
		Status: http.StatusInternalServerError, Type: "internal", Title: "Internal error",
		Detail: "This is a fault of The Eye. Its log has more under the request_id.",
	}
	notFound = &problem.Problem{
		Status: http.StatusNotFound, Type: "not-found", Title: "Not found",
		Detail: "There is no such thing, or the credential may not see it.",
	}
	storeDown = &problem.Problem{
		Status: http.StatusServiceUnavailable, Type: "store-unavailable", Title: "The store cannot be read now",
		Detail:     "Events are still taken in. Ask again after the time in Retry-After.",
		RetryAfter: 2 * time.Second,
	}
	tooSlow = &problem.Problem{
		Status: http.StatusServiceUnavailable, Type: "too-slow", Title: "The answer took too long",
		Detail:     "Ask for less: a shorter time range, a session, or a smaller limit.",
		RetryAfter: 5 * time.Second,
	}
	catalogDown = &problem.Problem{
		Status: http.StatusServiceUnavailable, Type: "catalog-unavailable", Title: "Applications cannot be changed now",
		Detail:     "It may or may not have happened: read it back, then try again after the time in Retry-After.",
		RetryAfter: 2 * time.Second,
	}
	applicationExists = &problem.Problem{
		Status: http.StatusConflict, Type: "exists", Title: "It exists",
		Detail: "There is an application with this id. Change it with PATCH, or choose another id.",
	}
	changedMeanwhile = &problem.Problem{
		Status: http.StatusConflict, Type: "conflict", Title: "Changed at the same time",
		Detail: "Others kept changing this application. Read it and try again.",
	}
)

// storeError marks an error as the store's, for fail.
type storeError struct{ err error }

func (e storeError) Error() string { return "read the store: " + e.err.Error() }
func (e storeError) Unwrap() error { return e.err }

// catalogError marks an error as the catalog's, for fail.
type catalogError struct{ err error }

func (e catalogError) Error() string { return "use the catalog: " + e.err.Error() }
func (e catalogError) Unwrap() error { return e.err }

// fail is the one place where errors become answers. What is not a Problem goes
// to the log; the caller learns only its kind.
func (a *api) fail(e *exchange, r *http.Request, err error) {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		p.Write(e)
		return
	}
	if r.Context().Err() != nil {
		e.status = 499 // the caller has gone and reads no answer; as nginx counts it
		return
	}
	log := a.Log.With("request", e.Header().Get(problem.RequestIDHeader), "method", r.Method, "err", err)
	_, fromStore := errors.AsType[storeError](err)
	_, fromCatalog := errors.AsType[catalogError](err)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, catalog.ErrNotFound):
		notFound.Write(e)
	case errors.Is(err, catalog.ErrExists):
		applicationExists.Write(e)
	case errors.Is(err, catalog.ErrConflict):
		changedMeanwhile.Write(e)
	case errors.Is(err, catalog.ErrTooLarge):
		tooLarge.Write(e)
	case fromCatalog:
		log.Warn("the catalog failed a request")
		catalogDown.Write(e)
	case fromStore && errors.Is(err, context.DeadlineExceeded):
		log.Warn("the store took too long")
		tooSlow.Write(e)
	case fromStore && (errors.Is(err, errNoReader) || errors.Is(err, store.ErrBroken)):
		log.Warn("the store cannot be read")
		storeDown.Write(e)
	default:
		log.Error("a request failed")
		internal.Write(e)
	}
}

// errNoReader: there is no store to read from.
var errNoReader = errors.New("no reader")

// read gives what a reading handler needs: the store, and a context that ends
// with the request or after ReadTimeout.
func (a *api) read(r *http.Request) (store.Reader, context.Context, context.CancelFunc, error) {
	reader, err := a.Reader()
	if err != nil {
		return nil, nil, nil, storeError{errors.Join(errNoReader, err)}
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.ReadTimeout)
	return reader, ctx, cancel, nil
}
