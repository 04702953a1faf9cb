package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/event"
)

// target is the path of a route with everything in it that exists.
func (s *server) target(rt api.Route) string {
	return strings.NewReplacer(
		"{application}", "owner", "{session_id}", "s1", "{receipt}", s.receipts.Of(event.At(1, 0)),
		"{credential}", "none", "{type}", "not-found", "{id}", "thing",
	).Replace(rt.Pattern)
}

// TestEveryRouteWithEveryCredential walks the table of routes.
func TestEveryRouteWithEveryCredential(t *testing.T) {
	t.Parallel()
	type who struct {
		name   string
		key    string
		scopes access.Scopes // granted
		status int           // when it is refused before any scope is looked at
	}
	for _, rt := range api.Routes() {
		t.Run(rt.Method+" "+rt.Pattern, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.add(event.Event{Application: "owner", ID: "thing", SessionID: "s1", Timestamp: at(0), Sequence: event.NoSequence})
			_, stranger := access.NewAPIKey("x", 0, noon, time.Time{})
			people := []who{
				{"nobody", "", 0, 401},
				{"wrong key", "hunter2", 0, 401},
				{"stranger", stranger, 0, 401},
				{"damaged key", stranger[:30], 0, 401},
				{"operator", operatorKey, access.AllScopes, 0},
				{"no scope", s.key("none"), 0, 0},
			}
			for _, scope := range access.ListScopes() {
				id := "only-" + strings.ReplaceAll(string(scope), ":", "-")
				people = append(people, who{"only " + string(scope), s.key(id, scope), access.ScopesOf(scope).Granted(), 0})
			}
			off := s.key("off", access.ListScopes()...)
			ended := s.key("ended", access.ListScopes()...)
			for id, change := range map[string]func(a *access.Application){
				"off":   func(a *access.Application) { a.Disabled = true },
				"ended": func(a *access.Application) { a.Credentials[0].ExpiresAt = noon },
			} {
				if _, err := s.catalog.UpdateApplication(context.Background(), id, func(a *access.Application) error { change(a); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			people = append(people, who{"disabled application", off, 0, 401}, who{"expired", ended, 0, 401})

			for _, p := range people {
				a := s.do(rt.Method, s.target(rt), p.key, "")
				challenge := a.header.Get("WWW-Authenticate")
				switch {
				case rt.Public:
					if a.status == 401 || a.status == 403 {
						t.Errorf("%s: %d; want it to be public", p.name, a.status)
					}
				case p.status != 0:
					s.problem(a, p.status, "unauthenticated", "")
					if p.key == "" && challenge != `Bearer realm="eye"` {
						t.Errorf("%s: WWW-Authenticate = %s; want no error", p.name, challenge)
					}
					if p.key != "" && !strings.Contains(challenge, `error="invalid_token"`) {
						t.Errorf("%s: WWW-Authenticate = %s; want invalid_token", p.name, challenge)
					}
				case !rt.Known && !p.scopes.Has(rt.Scope):
					s.problem(a, 403, "insufficient-scope", "")
					if !strings.Contains(challenge, `scope="`+string(rt.Scope)+`"`) {
						t.Errorf("%s: WWW-Authenticate = %s; want the scope %s", p.name, challenge, rt.Scope)
					}
				case a.status == 401 || a.status == 403 || a.status == 500:
					t.Errorf("%s: %d %s; want it let in", p.name, a.status, a.body)
				}
			}
		})
	}
}

// TestOthersThingsDoNotExist: what a restricted reader may not see is answered
// as what is not there, to the letter.
func TestOthersThingsDoNotExist(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	reader := s.key("reader", access.EventsRead, access.Quarantine)
	auditor := s.key("auditor", access.EventsReadAll, access.Quarantine)
	s.add(event.Event{Application: "owner", ID: "thing", SessionID: "s1", Timestamp: at(0), Sequence: event.NoSequence})
	s.refuse(event.Refusal{Application: "owner", Original: []byte("x"), ReceivedAt: at(0)})
	theirs, none := s.receipts.Of(event.At(1, 0)), s.receipts.Of(event.At(1, 999))
	refused := s.receipts.Of(event.At(1, 1))
	for _, pair := range [][2]string{
		{"/v1/events/owner/thing", "/v1/events/owner/nothing"},
		{"/v1/sessions/s1", "/v1/sessions/s2"},
		{"/v1/sessions/s1/events", "/v1/sessions/s2/events"},
		{"/v1/receipts/" + theirs, "/v1/receipts/unheard-of"},
		{"/v1/quarantine/" + refused, "/v1/quarantine/" + none},
	} {
		hidden, missing := s.get(pair[0], reader, 404), s.get(pair[1], reader, 404)
		if h, m := s.problem(hidden, 404, "not-found", ""), s.problem(missing, 404, "not-found", ""); h.Detail != m.Detail || h.Title != m.Title {
			t.Errorf("%s and %s differ: %+v, %+v", pair[0], pair[1], h, m)
		}
		s.get(pair[0], auditor, 200)
	}
	for _, target := range []string{"/v1/events", "/v1/events?application=owner", "/v1/events?session_id=s1", "/v1/sessions", "/v1/sessions?application=owner", "/v1/quarantine", "/v1/quarantine?application=owner"} {
		a := s.get(target, reader, 200)
		if got := decode[list[any]](t, a); len(got.Items) != 0 || got.Next != nil || !strings.HasPrefix(a.body, `{"items":[]`) {
			t.Errorf("GET %s = %s; want nothing", target, a.body)
		}
		if got := decode[list[any]](t, s.get(target, auditor, 200)); len(got.Items) != 1 {
			t.Errorf("GET %s by the auditor = %v; want one", target, got.Items)
		}
	}
}

func TestKeyAsBasicUser(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(s.key("reader", access.EventsRead), "")
	if a := s.do("GET", "/v1/events", "", "", "Authorization", r.Header.Get("Authorization")); a.status != 200 {
		t.Errorf("GET /v1/events = %d; want 200", a.status)
	}
}

func TestIntakeGetsThePrincipal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.do("POST", "/v1/events", s.key("shop", access.EventsWrite), `{}`)
	if a.status != 202 || !strings.Contains(a.body, `"id":"shop"`) {
		t.Errorf("POST /v1/events = %d %s; want 202 by shop", a.status, a.body)
	}
}

// refuse puts something into quarantine.
func (s *server) refuse(r event.Refusal) {
	if r.Position == 0 {
		r.Position = event.At(1, len(s.store.events)+len(s.store.refusals))
	}
	if r.Violations == nil {
		r.Violations = []event.Violation{{Pointer: "/name", Code: event.Required, Message: "name is required."}}
	}
	s.store.refusals = append(s.store.refusals, r)
}
