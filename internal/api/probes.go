package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/the-eye/eye/internal/problem"
)

// probeTimeout bounds a probe; whoever asks gives up after some seconds too.
const probeTimeout = 3 * time.Second

func (a *api) healthz(w http.ResponseWriter, r *http.Request) error {
	return probe(w, r, a.Alive, "not-alive", "Not alive")
}

func (a *api) readyz(w http.ResponseWriter, r *http.Request) error {
	return probe(w, r, a.Ready, "not-ready", "Not ready")
}

// probe answers 200 when all checks hold, else 503 with those that do not.
func probe(w http.ResponseWriter, r *http.Request, ask func(context.Context) []Check, slug, title string) error {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	checks := ask(ctx)
	if checks == nil {
		checks = []Check{}
	}
	var failing []string
	for _, c := range checks {
		if !c.OK {
			failing = append(failing, c.Name)
		}
	}
	if failing != nil {
		slices.Sort(failing)
		return &problem.Problem{
			Status: http.StatusServiceUnavailable, Type: slug, Title: title,
			Detail:     "What cannot: " + strings.Join(failing, ", ") + ".",
			RetryAfter: time.Second,
			Extra:      map[string]any{"checks": checks},
		}
	}
	return respond(w, struct {
		Status string  `json:"status"`
		Checks []Check `json:"checks"`
	}{"ok", checks})
}

func (a *api) serveVersion(w http.ResponseWriter, r *http.Request) error {
	return respond(w, a.Version)
}

// respond answers with a value of few and plain members.
func respond(w http.ResponseWriter, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, text)
	return nil
}
