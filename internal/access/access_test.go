package access_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
)

const operatorKey = "operator-key-0123456789-0123456789"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newAuthenticator(t testing.TB) *access.Authenticator {
	t.Helper()
	a, err := access.NewAuthenticator(operatorKey, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func application(id string, scopes access.Scopes, credentials ...access.Credential) access.Application {
	return access.Application{ID: id, Name: id, Scopes: scopes, CreatedAt: noon, FutureToleranceSeconds: 60, Credentials: credentials}
}

func bearer(key string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	return r
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t)
	good, goodKey := access.NewAPIKey("c1", 0, noon, time.Time{})
	narrow, narrowKey := access.NewAPIKey("c2", access.ScopesOf(access.EventsWrite, access.Admin), noon, noon.Add(time.Second))
	expired, expiredKey := access.NewAPIKey("c3", 0, noon, noon)
	off, offKey := access.NewAPIKey("c4", 0, noon, time.Time{})
	shop := application("shop", access.ScopesOf(access.EventsWrite, access.EventsReadAll), good, narrow, expired)
	shop.Rate = access.Rate{PerSecond: 5, Burst: 10}
	closed := application("closed", access.AllScopes, off)
	closed.Disabled = true
	a.Update([]access.Application{shop, closed})
	_, stranger := access.NewAPIKey("c5", 0, noon, time.Time{})
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

	for _, test := range []struct {
		name    string
		headers []string
		app     string
		scopes  string
		err     error
	}{
		{"none", nil, "", "", access.ErrMissing},
		{"good key", []string{"Bearer " + goodKey}, "shop", "events:write events:read events:read:all", nil},
		{"scheme in other letters", []string{"bEARER  " + goodKey}, "shop", "events:write events:read events:read:all", nil},
		{"good key as Basic user", []string{basic(goodKey + ":")}, "shop", "events:write events:read events:read:all", nil},
		{"good key as Basic user with password", []string{basic(goodKey + ":x:y")}, "shop", "events:write events:read events:read:all", nil},
		{"credential has no more than its application", []string{"Bearer " + narrowKey}, "shop", "events:write", nil},
		{"operator", []string{"Bearer " + operatorKey}, "operator", access.AllScopes.String(), nil},
		{"operator as Basic user", []string{basic(operatorKey + ":")}, "operator", access.AllScopes.String(), nil},
		{"two headers", []string{"Bearer " + goodKey, "Bearer " + goodKey}, "", "", access.ErrMalformed},
		{"no scheme", []string{goodKey}, "", "", access.ErrMalformed},
		{"empty bearer", []string{"Bearer "}, "", "", access.ErrMalformed},
		{"other scheme", []string{"Digest " + goodKey}, "", "", access.ErrMalformed},
		{"Basic without colon", []string{basic(goodKey)}, "", "", access.ErrMalformed},
		{"Basic with bad base64", []string{"Basic ***"}, "", "", access.ErrMalformed},
		{"endless Basic", []string{basic(strings.Repeat("x", 10000) + ":")}, "", "", access.ErrMalformed},
		{"cut key", []string{"Bearer " + goodKey[:len(goodKey)-1]}, "", "", access.ErrMalformed},
		{"mistyped key", []string{"Bearer " + flip(goodKey, 20)}, "", "", access.ErrMalformed},
		{"mistyped checksum", []string{"Bearer " + flip(goodKey, len(goodKey)-1)}, "", "", access.ErrMalformed},
		{"well-formed stranger", []string{"Bearer " + stranger}, "", "", access.ErrUnknown},
		{"some secret", []string{"Bearer hunter2"}, "", "", access.ErrUnknown},
		{"wrong operator", []string{"Bearer " + operatorKey + "x"}, "", "", access.ErrUnknown},
		{"expired", []string{"Bearer " + expiredKey}, "", "", access.ErrExpired},
		{"disabled", []string{"Bearer " + offKey}, "", "", access.ErrDisabled},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = test.headers
		if test.headers == nil {
			delete(r.Header, "Authorization")
		}
		p, err := a.Authenticate(r)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: Authenticate = %v; want %v", test.name, err, test.err)
			continue
		}
		if test.err != nil {
			if p != nil {
				t.Errorf("%s: Authenticate gave a principal with its error", test.name)
			}
			continue
		}
		if p.Application != test.app || p.Scopes.String() != test.scopes {
			t.Errorf("%s: Authenticate = %s with %q; want %s with %q", test.name, p.Application, p.Scopes, test.app, test.scopes)
		}
		if p.Operator != (test.app == access.OperatorID) {
			t.Errorf("%s: Operator = %v", test.name, p.Operator)
		}
	}
}

func flip(key string, i int) string {
	b := []byte(key)
	if b[i] == 'a' {
		b[i] = 'b'
	} else {
		b[i] = 'a'
	}
	return string(b)
}

func TestRevokedAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t)
	c, key := access.NewAPIKey("c1", 0, noon, time.Time{})
	a.Update([]access.Application{application("shop", access.AllScopes, c)})
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					a.Authenticate(bearer(key))
				}
			}
		})
	}
	if _, err := a.Authenticate(bearer(key)); err != nil {
		t.Errorf("before: Authenticate = %v; want nil", err)
	}
	a.Update([]access.Application{application("shop", access.AllScopes)})
	if _, err := a.Authenticate(bearer(key)); err != access.ErrUnknown {
		t.Errorf("after: Authenticate = %v; want %v", err, access.ErrUnknown)
	}
	close(stop)
	readers.Wait()
}

func TestOperatorKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"short", strings.Repeat("x", 31), strings.Repeat("x", 32) + " ", strings.Repeat("é", 32)} {
		if _, err := access.NewAuthenticator(key, time.Now); err == nil {
			t.Errorf("NewAuthenticator(%q) took it; want an error", key)
		}
	}
	a, err := access.NewAuthenticator("", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer ")
	if p, err := a.Authenticate(r); err == nil {
		t.Errorf("without an operator's key, an empty one gives %+v", p)
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		access.ErrMissing:   `Bearer realm="eye"`,
		access.ErrMalformed: `Bearer realm="eye", error="invalid_token", error_description="malformed"`,
		access.ErrExpired:   `Bearer realm="eye", error="invalid_token", error_description="expired"`,
	} {
		w := httptest.NewRecorder()
		access.Unauthorized(w, err)
		if got := w.Header().Get("WWW-Authenticate"); got != want || w.Code != 401 {
			t.Errorf("Unauthorized(%v) = %d, %s; want 401, %s", err, w.Code, got, want)
		}
	}
	w := httptest.NewRecorder()
	access.Forbidden(w, access.SQL)
	want := `Bearer realm="eye", error="insufficient_scope", scope="sql"`
	if got := w.Header().Get("WWW-Authenticate"); got != want || w.Code != 403 {
		t.Errorf("Forbidden = %d, %s; want 403, %s", w.Code, got, want)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		have, want string
	}{
		{"", ""},
		{"sql", "events:read events:read:all sql"},
		{"events:read:all", "events:read events:read:all"},
		{"types:write", "types:read types:write"},
		{"admin", "admin"},
		{"quarantine", "quarantine"},
		{"events:write", "events:write"},
	} {
		s, err := access.ParseScopes(strings.Fields(test.have))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Granted().String(); got != test.want {
			t.Errorf("%q grants %q; want %q", test.have, got, test.want)
		}
	}
	for i, s := range access.ListScopes() {
		if got := access.ScopesOf(s); got != 1<<i {
			t.Errorf("bit of %s = %b; want %b", s, got, 1<<i)
		}
	}
	if _, err := access.ParseScopes([]string{"events:*"}); err == nil {
		t.Error("ParseScopes(events:*) took it; want an error")
	}
	var none access.Scopes
	if none.Has("") || access.AllScopes.Has("nonsense") {
		t.Error("Has is true for what is no scope")
	}
	if !access.ScopesOf(access.EventsRead).Within(access.ScopesOf(access.SQL)) {
		t.Error("events:read is not within sql; want it to be")
	}
	if access.ScopesOf(access.Admin).Within(access.ScopesOf(access.SQL)) {
		t.Error("admin is within sql")
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	cta := event.Type{Category: "page interaction", Name: "cta click"}
	for _, test := range []struct {
		pattern string
		t       event.Type
		want    bool
	}{
		{"*/*", cta, true},
		{"page interaction/*", cta, true},
		{"*/cta click", cta, true},
		{"page interaction/cta click", cta, true},
		{"page/*", cta, false},
		{"*/cta", cta, false},
		{"a%2Fb/100%", event.Type{Category: "a/b", Name: "100%"}, true},
		{"a/100%25", event.Type{Category: "a", Name: "100%"}, true},
		{"a/%2a", event.Type{Category: "a", Name: "*"}, true},
		{"a/%2a", event.Type{Category: "a", Name: "b"}, false},
	} {
		p, err := access.ParsePattern(test.pattern)
		if err != nil {
			t.Errorf("ParsePattern(%q) = %v", test.pattern, err)
			continue
		}
		if got := p.Matches(test.t); got != test.want {
			t.Errorf("%q matches %v = %v; want %v", test.pattern, test.t, got, test.want)
		}
		if again, err := access.ParsePattern(p.String()); err != nil || again != p {
			t.Errorf("ParsePattern(%q) = %v, %v; want %v", p.String(), again, err, p)
		}
		principal := access.Principal{Patterns: []access.Pattern{p}}
		if got := principal.MaySend(test.t); got != test.want {
			t.Errorf("MaySend(%v) with %q = %v; want %v", test.t, test.pattern, got, test.want)
		}
	}
	for _, bad := range []string{"", "a", "/", "a/", "/b", "a/b/c", "a*/b", "a/b*", "**/b"} {
		if p, err := access.ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = %v; want an error", bad, p)
		}
	}
	if !(&access.Principal{}).MaySend(cta) {
		t.Error("without patterns MaySend is false")
	}
}

func TestCheckID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "0": true, "web-shop": true, "a-": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "A": false, "a_b": false, "a.b": false, "ä": false, "operator": false,
		strings.Repeat("a", 64): false, "a\n": false, "a b": false,
	} {
		if err := access.CheckID(id); (err == nil) != want {
			t.Errorf("CheckID(%q) = %v; want ok %v", id, err, want)
		}
	}
}

func TestApplicationCheck(t *testing.T) {
	t.Parallel()
	good := application("a", 0)
	if errs := good.Check(); errs != nil {
		t.Errorf("Check = %v; want none", errs)
	}
	bad := access.Application{ID: "A", Description: strings.Repeat("x", 2001), Rate: access.Rate{PerSecond: -1, Burst: 0}, FutureToleranceSeconds: -1}
	var fields []string
	for _, e := range bad.Check() {
		fields = append(fields, e.Field)
	}
	want := []string{"id", "name", "description", "rate/per_second", "rate/burst", "future_tolerance_seconds"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("Check: fields (-want +got)\n%s", d)
	}
}

func TestApplicationJSON(t *testing.T) {
	t.Parallel()
	c, key := access.NewAPIKey("c1", access.ScopesOf(access.EventsRead), noon, noon.Add(time.Hour))
	app := application("shop", access.ScopesOf(access.EventsRead, access.SQL), c)
	p, err := access.ParsePattern("a%2Fb/*")
	if err != nil {
		t.Fatal(err)
	}
	app.EventTypes = []access.Pattern{p}
	app.Rate = access.Rate{PerSecond: 1, Burst: 2}
	text, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), key) {
		t.Errorf("the key itself is in %s", text)
	}
	var back access.Application
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(app, back, cmp.AllowUnexported(access.Pattern{})); d != "" {
		t.Errorf("after JSON (-want +got)\n%s", d)
	}
}

func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		key := access.NewKey()
		if len(key) != 53 || !strings.HasPrefix(key, "eye_") || seen[key] {
			t.Fatalf("NewKey = %q; want 53 fresh characters", key)
		}
		seen[key] = true
	}
}

func FuzzAuthenticate(f *testing.F) {
	a := newAuthenticator(f)
	c, key := access.NewAPIKey("c1", 0, noon, time.Time{})
	a.Update([]access.Application{application("shop", access.AllScopes, c)})
	f.Add("Bearer " + key[:20])
	f.Add("Basic OnBhc3M=")
	f.Add("Bearer eye_")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		p, err := a.Authenticate(r)
		if (p == nil) == (err == nil) {
			t.Errorf("Authenticate(%q) = %v, %v; want one of them", header, p, err)
		}
		// The fuzzer cannot know the keys.
		if p != nil && !strings.Contains(header, key) && !strings.Contains(header, operatorKey) && !strings.HasPrefix(strings.ToLower(header), "basic") {
			t.Errorf("Authenticate(%q) let in %s", header, p.Application)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("a/b")
	f.Add("*/%2f%2A%25")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := access.ParsePattern(text)
		if err != nil {
			return
		}
		if again, err := access.ParsePattern(p.String()); err != nil || again != p {
			t.Errorf("ParsePattern(%q) = %v, %v; want %v", p.String(), again, err, p)
		}
	})
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	a := newAuthenticator(t)
	c, key := access.NewAPIKey("c1", 0, noon, time.Time{})
	a.Update([]access.Application{application("shop", access.AllScopes, c)})
	r := bearer(key)
	if n := testing.AllocsPerRun(100, func() { a.Authenticate(r) }); n > 0 {
		t.Errorf("Authenticate allocates %v times; want 0", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	a := newAuthenticator(b)
	apps := make([]access.Application, 1000)
	var key string
	for i := range apps {
		var c access.Credential
		c, key = access.NewAPIKey("c1", 0, noon, time.Time{})
		apps[i] = application("shop", access.AllScopes, c)
	}
	a.Update(apps)
	r := bearer(key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
