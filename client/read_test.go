package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// noon is when most events of these tests occur.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// filled is a server with ten events of two applications in two sessions, the
// later ones sent first, and a client that sees them all.
func filled(t *testing.T) (*clienttest.Server, *client.Client) {
	t.Helper()
	s := clienttest.New()
	for i := range 10 {
		app := []string{"shop", "crm"}[i%2]
		key := s.AddApplication(app, "events:write")
		e := client.Event{
			ID: fmt.Sprint("e", 9-i), SessionID: []string{"even", "odd"}[(9-i)%2], Category: "page", Name: fmt.Sprint("n", (9-i)%3),
			Data: json.RawMessage(fmt.Sprintf(`{"i":%d,"a":[{"b":"x%d"}],"price":1.50}`, 9-i, 9-i)), Timestamp: noon.Add(time.Duration(9-i) * time.Minute),
		}
		if _, err := over(t, s, client.Options{Key: key}).SendNow(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return s, over(t, s, client.Options{})
}

// collect reads an iteration to its end.
func collect[T any](t *testing.T, seq iter.Seq2[T, error], show func(T) string) []string {
	t.Helper()
	var all []string
	for v, err := range seq {
		if err != nil {
			t.Errorf("iteration ended with %v", err)
			break
		}
		all = append(all, show(v))
	}
	return all
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s, c := filled(t)
	id := func(e client.StoredEvent) string { return e.ID }
	for _, test := range []struct {
		name   string
		filter client.Filter
		want   string
	}{
		{"all", client.Filter{}, "e0 e1 e2 e3 e4 e5 e6 e7 e8 e9"},
		{"page by page", client.Filter{PageSize: 3}, "e0 e1 e2 e3 e4 e5 e6 e7 e8 e9"},
		{"newest first", client.Filter{Descending: true, PageSize: 4}, "e9 e8 e7 e6 e5 e4 e3 e2 e1 e0"},
		{"session", client.Filter{SessionID: "odd"}, "e1 e3 e5 e7 e9"},
		{"application", client.Filter{Application: "crm"}, "e0 e2 e4 e6 e8"},
		{"type", client.Filter{Category: "page", Name: "n1"}, "e1 e4 e7"},
		{"time", client.Filter{From: noon.Add(2 * time.Minute), To: noon.Add(4 * time.Minute)}, "e2 e3"},
		{"payload", client.Filter{Data: map[string]string{"a.0.b": "x4"}}, "e4"},
		{"payload number", client.Filter{Data: map[string]string{"i": "7", "price": "1.50"}}, "e7"},
		{"none", client.Filter{Name: "x"}, ""},
	} {
		seq := c.Events(t.Context(), test.filter)
		for range 2 { // an iterator can be used again
			if got := strings.Join(collect(t, seq, id), " "); got != test.want {
				t.Errorf("%s: %s; want %s", test.name, got, test.want)
			}
		}
	}
	before := len(s.Requests())
	for range c.Events(t.Context(), client.Filter{PageSize: 2}) {
		break
	}
	if n := len(s.Requests()) - before; n != 1 {
		t.Errorf("stopping at the first event took %d requests; want 1", n)
	}
}

func TestStoredEvent(t *testing.T) {
	t.Parallel()
	_, c := filled(t)
	e, err := c.Event(t.Context(), "crm", "e2")
	if err != nil {
		t.Fatal(err)
	}
	if e.Application != "crm" || e.SessionID != "even" || e.Position != 2 || !e.Timestamp.Equal(noon.Add(2*time.Minute)) ||
		e.ReceivedAt.IsZero() || e.Receipt != "r8" || e.Sequence != nil {
		t.Errorf("Event = %+v", e)
	}
	if want := `{"i":2,"a":[{"b":"x2"}],"price":1.50}`; string(e.Data) != want {
		t.Errorf("Data = %s; want %s", e.Data, want)
	}
	var data struct{ I int }
	if err := e.Decode(&data); err != nil || data.I != 2 {
		t.Errorf("Decode = %v, %v; want 2", data.I, err)
	}
	out, err := json.Marshal(e)
	if err != nil || string(out) != string(e.Raw) || !strings.Contains(string(out), "1.50") {
		t.Errorf("Marshal = %s, %v; want what the server sent: %s", out, err, e.Raw)
	}
	e.Raw = nil
	out, err = json.Marshal(e)
	if err != nil || !strings.Contains(string(out), `"session_id":"even"`) {
		t.Errorf("Marshal without Raw = %s, %v", out, err)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	c := over(t, s, client.Options{})
	const odd = "a/b?c#d%2Fe é"
	e := click(odd)
	e.ID = odd
	if _, err := c.SendNow(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Event(t.Context(), "operator", odd); err != nil || got.ID != odd {
		t.Errorf("Event = %q, %v; want %q", got.ID, err, odd)
	}
	if got, err := c.Session(t.Context(), odd); err != nil || got.ID != odd {
		t.Errorf("Session = %q, %v; want %q", got.ID, err, odd)
	}
	if got := collect(t, c.SessionEvents(t.Context(), odd), func(e client.StoredEvent) string { return e.ID }); !slices.Equal(got, []string{odd}) {
		t.Errorf("SessionEvents = %q; want %q", got, odd)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	_, c := filled(t)
	if _, err := c.SendNow(t.Context(), client.Event{SessionID: "odd text", Category: "a/b", Name: "100%*", Timestamp: noon.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	id := func(s client.Session) string { return fmt.Sprintf("%s %d %v", s.ID, s.Events, s.Applications) }
	for _, test := range []struct {
		filter client.SessionFilter
		want   []string
	}{
		{client.SessionFilter{}, []string{"odd 5 [shop]", "even 5 [crm]", "odd text 1 [operator]"}},
		{client.SessionFilter{PageSize: 1}, []string{"odd 5 [shop]", "even 5 [crm]", "odd text 1 [operator]"}},
		{client.SessionFilter{Application: "crm"}, []string{"even 5 [crm]"}},
		{client.SessionFilter{From: noon.Add(9 * time.Minute)}, []string{"odd 1 [shop]"}},
		{client.SessionFilter{Category: "page", Name: "n9"}, nil},
		{client.SessionFilter{Category: "a/b", Name: "100%*"}, []string{"odd text 1 [operator]"}},
	} {
		if d := cmp.Diff(test.want, collect(t, c.Sessions(t.Context(), test.filter), id)); d != "" {
			t.Errorf("Sessions(%+v) (-want +got):\n%s", test.filter, d)
		}
	}
	got, err := c.Session(t.Context(), "odd")
	want := client.Session{ID: "odd", FirstTimestamp: noon.Add(time.Minute), LastTimestamp: noon.Add(9 * time.Minute), Events: 5, Applications: []string{"shop"}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Session: %v (-want +got):\n%s", err, d)
	}
	places := collect(t, c.SessionEvents(t.Context(), "odd"), func(e client.StoredEvent) string { return fmt.Sprint(e.ID, "@", e.Position) })
	if d := cmp.Diff([]string{"e1@1", "e3@2", "e5@3", "e7@4", "e9@5"}, places); d != "" {
		t.Errorf("SessionEvents (-want +got):\n%s", d)
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	c := over(t, clienttest.New(), client.Options{})
	e := click("s")
	e.ID = "x"
	r, err := c.SendNow(t.Context(), e, e, client.Event{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"stored", "duplicate", "quarantined"} {
		got, err := c.Receipt(t.Context(), r.Outcomes[i].Receipt)
		if err != nil || got.Disposition != want || got.Receipt != r.Outcomes[i].Receipt {
			t.Errorf("Receipt %d = %+v, %v; want %s", i, got, err, want)
		}
		if (got.Event != nil) != (i < 2) || (len(got.Violations) > 0) != (i == 2) {
			t.Errorf("Receipt %d = %+v; want the event of what is stored, violations of what is not", i, got)
		}
	}
	var p *client.Problem
	if _, err := c.Receipt(t.Context(), "nonsense"); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("Receipt(nonsense) = %v; want a problem 404", err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	c := over(t, clienttest.New(), client.Options{})
	const original = `{"name":"n",  "category":7}`
	if _, err := c.SendJSON(t.Context(), 0, json.RawMessage(original), json.RawMessage("\xff\xfe")); err != nil {
		t.Fatal(err)
	}
	show := func(q client.Quarantined) string {
		return fmt.Sprintf("%s %s/%s %q %d", q.Receipt, q.Category, q.Name, q.Original, len(q.Violations))
	}
	want := []string{`r2 / "\xff\xfe" 1`, `r1 /n "{\"name\":\"n\",  \"category\":7}" 4`}
	if d := cmp.Diff(want, collect(t, c.Quarantine(t.Context(), client.QuarantineFilter{PageSize: 1}), show)); d != "" {
		t.Errorf("Quarantine (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want[:1], collect(t, c.Quarantine(t.Context(), client.QuarantineFilter{Code: "invalid_json"}), show)); d != "" {
		t.Errorf("Quarantine with a code (-want +got):\n%s", d)
	}
}

func TestApplications(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	c := over(t, s, client.Options{})
	want := client.Application{ID: "web-shop", Name: "Web shop", Scopes: []string{"events:write"}, Rate: &client.Rate{PerSecond: 5, Burst: 10}, FutureToleranceSeconds: new(60)}
	if got, err := c.CreateApplication(t.Context(), want); err != nil || !cmp.Equal(got, want) {
		t.Errorf("CreateApplication = %+v, %v; want %+v", got, err, want)
	}
	var p *client.Problem
	if _, err := c.CreateApplication(t.Context(), want); !errors.As(err, &p) || p.Status != http.StatusConflict {
		t.Errorf("CreateApplication again = %v; want a problem 409", err)
	}
	credential, err := c.CreateCredential(t.Context(), "web-shop", client.NewCredential{Kind: "api_key"})
	if err != nil || credential.Secret == "" || credential.ClientID != "web-shop" {
		t.Fatalf("CreateCredential = %+v, %v", credential, err)
	}
	r, err := over(t, s, client.Options{Key: credential.Secret}).SendNow(t.Context(), click("s"))
	if err != nil || r.Accepted() != 1 {
		t.Errorf("SendNow with the new key = %+v, %v", r, err)
	}
	if got := collect(t, c.Applications(t.Context()), func(a client.Application) string { return a.Name }); !slices.Equal(got, []string{"Web shop"}) {
		t.Errorf("Applications = %v", got)
	}
}

// What goes wrong in the middle of a list is the end of its iteration.
func TestListFails(t *testing.T) {
	t.Parallel()
	s, c := filled(t)
	n := 0
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		n++
		if n != 2 {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>")
		return true
	}
	var events, errs int
	var last error
	for _, err := range c.Events(t.Context(), client.Filter{PageSize: 4}) {
		if err != nil {
			errs, last = errs+1, err
			continue
		}
		events++
	}
	var p *client.Problem
	if events != 4 || errs != 1 || !errors.As(last, &p) || p.Status != 502 || !strings.Contains(last.Error(), "proxy") {
		t.Errorf("%d events, %d errors, last %v; want 4 and a 502 that mentions a proxy", events, errs, last)
	}
}

func TestCancelledReading(t *testing.T) {
	t.Parallel()
	_, c := filled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.Events(ctx, client.Filter{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Events = %v; want %v", err, context.Canceled)
		}
	}
}

// Over a real network the same works, and connections are used again.
func TestOverTheLoopback(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	c, err := client.New(s.Start(t), client.Options{Key: clienttest.OperatorKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	sender := c.NewSender(client.SenderOptions{Workers: 2, BatchEvents: 10})
	send(t, sender, 1000)
	closeNow(t, sender)
	if got := sender.Stats(); got != (client.Stats{Accepted: 1000}) {
		t.Errorf("Stats = %+v; want 1000 accepted", got)
	}
	var n int
	for _, err := range c.Events(t.Context(), client.Filter{PageSize: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1000 {
		t.Errorf("%d events stored; want 1000", n)
	}
}
