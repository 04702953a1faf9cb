package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/access"
)

func TestApplicationsLiveAndDie(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.do("POST", "/v1/applications", operatorKey, `{"id":"web-shop","name":"Web <shop>","scopes":["events:write","sql"],"event_types":["page interaction/*"],"rate":{"per_second":500,"burst":2000},"future_tolerance_seconds":0,"owner":"ann","description":"d"}`)
	want := `{"id":"web-shop","name":"Web <shop>","description":"d","owner":"ann","scopes":["events:write","sql"],"event_types":["page interaction/*"],` +
		`"rate":{"per_second":500,"burst":2000},"future_tolerance_seconds":0,"disabled":false,"created_at":"2026-01-02T12:00:00.000000Z","credentials":[]}` + "\n"
	if a.status != 201 || a.body != want || a.header.Get("Location") != "/v1/applications/web-shop" {
		t.Errorf("POST = %d %s; want 201 %s", a.status, a.body, want)
	}
	if got := s.get("/v1/applications/web-shop", operatorKey, 200); got.body != want {
		t.Errorf("GET = %s; want %s", got.body, want)
	}
	s.problem(s.do("POST", "/v1/applications", operatorKey, `{"id":"web-shop"}`), 409, "exists", "")

	// Nothing but the id is needed.
	a = s.do("POST", "/v1/applications", operatorKey, `{"id":"plain"}`)
	if want := `"name":"plain","description":"","owner":"","scopes":["events:write","events:read"],"event_types":[],"rate":null,"future_tolerance_seconds":60,"disabled":false`; a.status != 201 || !strings.Contains(a.body, want) {
		t.Errorf("POST = %d %s; want %s in it", a.status, a.body, want)
	}

	// A change leaves the rest; null is the default.
	a = s.do("PATCH", "/v1/applications/web-shop", operatorKey, `{"name":"Shop","rate":null}`, "Content-Type", "application/merge-patch+json")
	if a.status != 200 || !strings.Contains(a.body, `"name":"Shop"`) || !strings.Contains(a.body, `"rate":null`) || !strings.Contains(a.body, `"owner":"ann"`) {
		t.Errorf("PATCH = %d %s", a.status, a.body)
	}
	a = s.do("PATCH", "/v1/applications/web-shop", operatorKey, `{"id":"web-shop","name":null,"scopes":null,"event_types":null,"future_tolerance_seconds":null,"owner":null,"rate":{"per_second":7},"disabled":true}`)
	if want := `{"id":"web-shop","name":"web-shop","description":"d","owner":"","scopes":["events:write","events:read"],"event_types":[],"rate":{"per_second":7,"burst":7},"future_tolerance_seconds":60,"disabled":true`; !strings.HasPrefix(a.body, want) {
		t.Errorf("PATCH = %d %s; want %s", a.status, a.body, want)
	}

	var ids []string
	for _, app := range decode[list[struct{ ID string }]](t, s.get("/v1/applications", operatorKey, 200)).Items {
		ids = append(ids, app.ID)
	}
	if got := strings.Join(ids, " "); got != "plain web-shop" {
		t.Errorf("applications = %s; want plain web-shop", got)
	}
	if a := s.do("DELETE", "/v1/applications/plain", operatorKey, ""); a.status != 204 {
		t.Errorf("DELETE = %d; want 204", a.status)
	}
	for _, a := range []answer{
		s.get("/v1/applications/plain", operatorKey, 404),
		s.do("DELETE", "/v1/applications/plain", operatorKey, ""),
		s.do("PATCH", "/v1/applications/plain", operatorKey, `{}`),
		s.do("POST", "/v1/applications/plain/credentials", operatorKey, `{"kind":"api_key"}`),
		s.do("DELETE", "/v1/applications/plain/credentials/x", operatorKey, ""),
		s.do("DELETE", "/v1/applications/web-shop/credentials/x", operatorKey, ""),
		s.get("/v1/applications/operator", operatorKey, 404),
	} {
		s.problem(a, 404, "not-found", "")
	}
}

func TestBodiesAreStrict(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.key("shop", access.EventsWrite, access.EventsReadAll)
	const applications, shop, credentials = "POST /v1/applications", "PATCH /v1/applications/shop", "POST /v1/applications/shop/credentials"
	for _, test := range []struct {
		call, body string
		status     int
		slug       string
		pointer    string
	}{
		{applications, ``, 400, "invalid-body", ""},
		{applications, `{`, 400, "invalid-body", ""},
		{applications, `{"id":"a"`, 400, "invalid-body", ""},
		{applications, `{"id":"a"} x`, 400, "invalid-body", ""},
		{applications, `{"id":"a"}{"id":"b"}`, 400, "invalid-body", ""},
		{applications, `[]`, 400, "invalid-body", ""},
		{applications, `{"id":"a","id":"b"}`, 400, "invalid-body", "/id"},
		{applications, `{"id":"a","i\u0064":"b"}`, 400, "invalid-body", "/id"},
		{applications, `{"id":"a","nmae":"b"}`, 400, "invalid-body", "/nmae"},
		{applications, `{"id":"a","ID":"b"}`, 400, "invalid-body", "/ID"},
		{applications, `{"id":7}`, 400, "invalid-body", "/id"},
		{applications, `{"id":"a","scopes":"events:write"}`, 400, "invalid-body", "/scopes"},
		{applications, `{"id":"a","scopes":["events:write",1]}`, 400, "invalid-body", "/scopes/1"},
		{applications, `{"id":"a","rate":{"per_second":1,"x":1}}`, 400, "invalid-body", "/rate/x"},
		{applications, `{"id":"a","rate":{"per_second":1.5}}`, 400, "invalid-body", "/rate/per_second"},
		{applications, `{"id":"a","rate":{"per_second":99999999999999999999}}`, 400, "invalid-body", "/rate/per_second"},
		{applications, `{"id":"a","future_tolerance_seconds":"60"}`, 400, "invalid-body", "/future_tolerance_seconds"},
		{applications, "{\"id\":\"\xff\"}", 400, "invalid-body", "/id"},
		{applications, `{"name":"a"}`, 422, "invalid-field", "/id"},
		{applications, `{"id":null}`, 422, "invalid-field", "/id"},
		{applications, `{"id":""}`, 422, "invalid-field", "/id"},
		{applications, `{"id":"A"}`, 422, "invalid-field", "/id"},
		{applications, `{"id":"operator"}`, 422, "invalid-field", "/id"},
		{applications, `{"id":"a","name":""}`, 422, "invalid-field", "/name"},
		{applications, `{"id":"a","scopes":["everything"]}`, 422, "invalid-field", "/scopes"},
		{applications, `{"id":"a","event_types":["a/b","a"]}`, 422, "invalid-field", "/event_types/1"},
		{applications, `{"id":"a","rate":{"per_second":0}}`, 422, "invalid-field", "/rate/per_second"},
		{applications, `{"id":"a","rate":{}}`, 422, "invalid-field", "/rate/per_second"},
		{applications, `{"id":"a","rate":{"per_second":1,"burst":0}}`, 422, "invalid-field", "/rate/burst"},
		{applications, `{"id":"a","future_tolerance_seconds":-1}`, 422, "invalid-field", "/future_tolerance_seconds"},
		{applications, `{"id":"a","description":"` + strings.Repeat("x", 2001) + `"}`, 422, "invalid-field", "/description"},
		{applications, `{"id":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "too-large", ""},
		{shop, `{"id":"other"}`, 422, "invalid-field", "/id"},
		{shop, `{"credentials":[]}`, 400, "invalid-body", "/credentials"},
		{credentials, `{}`, 422, "invalid-field", "/kind"},
		{credentials, `{"kind":"password"}`, 422, "invalid-field", "/kind"},
		{credentials, `{"kind":"client_secret"}`, 422, "invalid-field", "/kind"},
		{credentials, `{"kind":"public_key","jwks":{"keys":[]}}`, 422, "invalid-field", "/kind"},
		{credentials, `{"kind":"ingest_key","origins":["https://example.com"]}`, 422, "invalid-field", "/kind"},
		{credentials, `{"kind":"api_key","jwks":{"keys":[]}}`, 422, "invalid-field", "/jwks"},
		{credentials, `{"kind":"api_key","origins":[]}`, 422, "invalid-field", "/origins"},
		{credentials, `{"kind":"api_key","scopes":[]}`, 422, "invalid-field", "/scopes"},
		{credentials, `{"kind":"api_key","scopes":["x"]}`, 422, "invalid-field", "/scopes"},
		{credentials, `{"kind":"api_key","scopes":["admin"]}`, 422, "invalid-field", "/scopes"},
		{credentials, `{"kind":"api_key","expires_at":"soon"}`, 422, "invalid-field", "/expires_at"},
		{credentials, `{"kind":"api_key","expires_at":"2026-01-02T12:00:00Z"}`, 422, "invalid-field", "/expires_at"},
	} {
		method, target, _ := strings.Cut(test.call, " ")
		a := s.do(method, target, operatorKey, test.body, "Content-Type", "application/json")
		s.problem(a, test.status, test.slug, test.pointer)
		for _, bad := range []string{"Go ", "json:", "jsontext", "int64", "struct"} {
			if strings.Contains(a.body, bad) {
				t.Errorf("%s %.60s = %s; want no words of the library", test.call, test.body, a.body)
			}
		}
	}
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", "x"} {
		s.problem(s.do("POST", "/v1/applications", operatorKey, `{"id":"a"}`, "Content-Type", contentType), 415, "unsupported-media-type", "")
	}
	s.problem(s.do("POST", "/v1/applications", operatorKey, `{"id":"a"}`, "Content-Encoding", "gzip"), 415, "unsupported-content-coding", "")
	if got := len(s.catalog.Applications()); got != 1 {
		t.Errorf("%d applications; want still one", got)
	}
	if _, err := s.catalog.Application("shop"); err != nil {
		t.Error(err)
	}
	s.get("/v1/events", key, 200)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.do("POST", "/v1/applications", operatorKey, `{"id":"shop","scopes":["events:write","events:read:all"]}`)
	type credential struct {
		ID, Kind, Secret, Hint string
		ClientID               string `json:"client_id"`
		CreatedAt              string `json:"created_at"`
		ExpiresAt              *string
		Scopes                 []string
	}
	a := s.do("POST", "/v1/applications/shop/credentials", operatorKey, `{"kind":"api_key"}`)
	one := decode[credential](t, a)
	if a.status != 201 || one.Kind != "api_key" || one.ClientID != "shop" || one.CreatedAt != "2026-01-02T12:00:00.000000Z" ||
		!strings.HasPrefix(one.Secret, one.Hint) || a.header.Get("Cache-Control") != "no-store" || len(one.Scopes) != 2 {
		t.Errorf("POST = %d %s", a.status, a.body)
	}
	two := decode[credential](t, s.do("POST", "/v1/applications/shop/credentials", operatorKey, `{"kind":"api_key","scopes":["events:read"],"expires_at":"2026-01-02 12:00:01"}`))
	// Both work, as far as they go; the second within the first's scopes.
	s.get("/v1/events", one.Secret, 200)
	s.get("/v1/events", two.Secret, 200)
	if a := s.do("POST", "/v1/events", two.Secret, `{}`); a.status != 403 {
		t.Errorf("POST /v1/events with events:read = %d; want 403", a.status)
	}
	if a := s.get("/v1/applications/shop", operatorKey, 200); strings.Contains(a.body, one.Secret) || !strings.Contains(a.body, one.ID) || !strings.Contains(a.body, two.ID) {
		t.Errorf("application = %s; want both credentials and no secret", a.body)
	}
	if a := s.do("DELETE", "/v1/applications/shop/credentials/"+one.ID, operatorKey, ""); a.status != 204 {
		t.Errorf("DELETE = %d; want 204", a.status)
	}
	s.get("/v1/events", one.Secret, 401)
	s.get("/v1/events", two.Secret, 200)

	// What the application loses, its credentials lose.
	s.do("PATCH", "/v1/applications/shop", operatorKey, `{"scopes":["events:write"]}`)
	s.get("/v1/events", two.Secret, 403)
	s.do("PATCH", "/v1/applications/shop", operatorKey, `{"disabled":true}`)
	s.get("/v1/events", two.Secret, 401)

	if strings.Contains(s.logs.String(), one.Secret) || strings.Contains(s.logs.String(), two.Secret) {
		t.Error("a secret is in the log")
	}
	for i := range access.MaxCredentials - 1 {
		if a := s.do("POST", "/v1/applications/shop/credentials", operatorKey, `{"kind":"api_key"}`); a.status != 201 {
			t.Fatalf("credential %d: %d %s", i, a.status, a.body)
		}
	}
	s.problem(s.do("POST", "/v1/applications/shop/credentials", operatorKey, `{"kind":"api_key"}`), 409, "too-many-credentials", "")
}

func TestCatalogInTrouble(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.key("shop")
	s.catalog.err = errors.New("nats: no responders at /var/lib")
	for _, a := range []answer{
		s.do("POST", "/v1/applications", operatorKey, `{"id":"a"}`),
		s.do("PATCH", "/v1/applications/shop", operatorKey, `{}`),
		s.do("DELETE", "/v1/applications/shop", operatorKey, ""),
		s.do("POST", "/v1/applications/shop/credentials", operatorKey, `{"kind":"api_key"}`),
	} {
		s.problem(a, 503, "catalog-unavailable", "")
		if strings.Contains(a.body, "nats") {
			t.Errorf("answer = %s; want nothing internal", a.body)
		}
	}
	s.get("/v1/applications", operatorKey, 200)
}

func TestApplicationsPageByPage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var want, got []string
	for i := range 7 {
		id := fmt.Sprintf("app-%d", i)
		s.key(id)
		want = append(want, id)
	}
	cursor := ""
	for {
		page := decode[list[struct{ ID string }]](t, s.get("/v1/applications?limit=3&cursor="+cursor, operatorKey, 200))
		for _, app := range page.Items {
			got = append(got, app.ID)
		}
		if page.Next == nil {
			break
		}
		cursor = *page.Next
		s.do("DELETE", "/v1/applications/"+got[len(got)-1], operatorKey, "") // the one the cursor stands on
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("applications (-want +got)\n%s", d)
	}
}
