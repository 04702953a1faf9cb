package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// item is an event as a client reads it.
type item struct {
	Application, ID, Timestamp, Receipt string
	SessionID                           string `json:"session_id"`
	Position                            int
	Sequence                            *int
}

func names(items []item) string {
	var list []string
	for _, i := range items {
		list = append(list, i.ID)
	}
	return strings.Join(list, " ")
}

func TestEventIsReadBackAsItWasSent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(
		event.Event{Application: "web", ID: `a/b "c" <&>` + "\u2028", SessionID: "s1", Category: "page interaction", Name: "cta click",
			Data:      []byte(`{"host":"<b>&\u003c","n":1.50e+3,"z":1,"a": [ 1 ]}`),
			Timestamp: 1609492527243860, Sequence: 7, SchemaVersion: 3,
			Violations: []byte(`[{"pointer":"/data/n","code":"schema","keyword":"type","message":"n must be a string."}]`)},
		event.Event{Application: "web", ID: "plain", SessionID: "s1", Timestamp: 1609492527000000, Sequence: event.NoSequence},
	)
	a := s.get("/v1/events/web/"+url.PathEscape(`a/b "c" <&>`+"\u2028"), operatorKey, 200)
	want := `{"application":"web","id":"a/b \"c\" <&>` + "\u2028" + `","session_id":"s1","category":"page interaction","name":"cta click",` +
		`"data":{"host":"<b>&\u003c","n":1.50e+3,"z":1,"a": [ 1 ]},"timestamp":"2021-01-01T09:15:27.243860Z","sequence":7,` +
		`"received_at":"2026-01-02T12:00:00.000000Z","position":2,"receipt":"` + s.receipts.Of(event.At(1, 0)) + `","schema_version":3,` +
		`"violations":[{"pointer":"/data/n","code":"schema","keyword":"type","message":"n must be a string."}]}` + "\n"
	if d := cmp.Diff(want, a.body); d != "" {
		t.Errorf("event (-want +got)\n%s", d)
	}
	a = s.get("/v1/events/web/plain", operatorKey, 200)
	for _, absent := range []string{`"sequence"`, `"violations"`} {
		if strings.Contains(a.body, absent) {
			t.Errorf("event = %s; want no %s", a.body, absent)
		}
	}
	if !strings.Contains(a.body, `"schema_version":null`) {
		t.Errorf("event = %s; want schema_version null", a.body)
	}
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(
		event.Event{Application: "web", ID: "1", SessionID: "a", Timestamp: at(3), Sequence: event.NoSequence, Data: []byte(`{"n":1,"s":"x","deep":{"er":true}}`)},
		event.Event{Application: "app", ID: "2", SessionID: "a", Timestamp: at(1), Sequence: event.NoSequence, Category: "click", Name: "buy"},
		event.Event{Application: "web", ID: "3", SessionID: "b", Timestamp: at(2), Sequence: 1, Data: []byte(`{"n":2,"s":"1"}`)},
		event.Event{Application: "web", ID: "4", SessionID: "a", Timestamp: at(2), Sequence: 0},
	)
	for query, want := range map[string]string{
		"":                          "1 3 4 2",
		"order=asc":                 "2 4 3 1",
		"session_id=a":              "2 4 1",
		"session_id=a&order=asc":    "2 4 1",
		"order=desc&session_id=a":   "1 4 2",
		"application=app":           "2",
		"application=nobody":        "",
		"category=page":             "1 3 4",
		"name=buy":                  "2",
		"from=2026-01-02T12:00:02Z": "1 3 4",
		"to=2026-01-02T12:00:02Z":   "2",
		"from=2026-01-02+12:00:02&to=2026-01-02+12:00:03": "3 4",
		"from=2026-01-02T13:00:02.5%2B01:00":              "1",
		"from=1970-01-01T00:00:00Z":                       "1 3 4 2",
		"to=1970-01-01T00:00:00Z":                         "",
		"data.n=1":                                        "1",
		"data.n=2&data.s=1":                               "3",
		"data.deep.er=true":                               "1",
		"data.s=":                                         "",
		"limit=2":                                         "1 3",
		"cursor=":                                         "1 3 4 2",
	} {
		got := decode[list[item]](t, s.get("/v1/events?"+query, operatorKey, 200))
		if names(got.Items) != want {
			t.Errorf("GET /v1/events?%s = %s; want %s", query, names(got.Items), want)
		}
		if (got.Next != nil) != (query == "limit=2") {
			t.Errorf("GET /v1/events?%s: next = %v", query, got.Next)
		}
	}
	web := s.key("web", access.EventsRead)
	if got := decode[list[item]](t, s.get("/v1/events?session_id=a", web, 200)); names(got.Items) != "4 1" || got.Items[0].Position != 2 {
		t.Errorf("own events = %+v; want 4 at position 2, and 1", got.Items)
	}
	got := decode[list[item]](t, s.get("/v1/sessions/a/events", operatorKey, 200))
	if names(got.Items) != "2 4 1" || got.Items[2].Position != 3 {
		t.Errorf("events of the session = %+v; want 2 4 1", got.Items)
	}
}

func TestImpossibleRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	long := strings.Repeat("x", 129)
	var many strings.Builder
	for i := range 17 {
		fmt.Fprintf(&many, "&data.p%d=1", i)
	}
	for target, pointer := range map[string]string{
		"/v1/events?nonsense=1":             "/nonsense",
		"/v1/events?a~/b=1":                 "/a~0~1b",
		"/v1/events?limit=0":                "/limit",
		"/v1/events?limit=1001":             "/limit",
		"/v1/events?limit=-1":               "/limit",
		"/v1/events?limit=%2B5":             "/limit",
		"/v1/events?limit=1e2":              "/limit",
		"/v1/events?limit=":                 "/limit",
		"/v1/events?limit=5&limit=6":        "/limit",
		"/v1/events?order=up":               "/order",
		"/v1/events?from=yesterday":         "/from",
		"/v1/events?to=2026-01-02":          "/to",
		"/v1/events?from=2026-02-30T00:00Z": "/from",
		"/v1/events?from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z": "/to",
		"/v1/events?from=2026-01-03T00:00:00Z&to=2026-01-02T00:00:00Z": "/to",
		"/v1/events?session_id=":                                           "/session_id",
		"/v1/events?session_id=" + long:                                    "/session_id",
		"/v1/events?session_id=a&session_id=b":                             "/session_id",
		"/v1/events?name=%ff":                                              "/name",
		"/v1/events?data.=1":                                               "/data.",
		"/v1/events?data.a..b=1":                                           "/data.a..b",
		"/v1/events?data=1":                                                "/data",
		"/v1/events?data.a=1&data.a=2":                                     "/data.a",
		"/v1/events?data.a=" + strings.Repeat("x", 5000):                   "/data.a",
		"/v1/events?x" + many.String():                                     "/data",
		"/v1/events?cursor=%2B":                                            "/cursor",
		"/v1/events?cursor=AAAA":                                           "/cursor",
		"/v1/events?cursor=a&cursor=b":                                     "/cursor",
		"/v1/sessions?contains=page":                                       "/contains",
		"/v1/sessions?contains=a/b/c":                                      "/contains",
		"/v1/sessions?session_id=a":                                        "/session_id",
		"/v1/sessions?order=asc":                                           "/order",
		"/v1/sessions/a?limit=5":                                           "/limit",
		"/v1/sessions/a/events?application=x":                              "/application",
		"/v1/events/a/b?cursor=x":                                          "/cursor",
		"/v1/quarantine?code=DROP":                                         "/code",
		"/v1/quarantine?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "/to",
		"/v1/applications?name=x":                                          "/name",
		"/v1/receipts/x?y=z":                                               "/y",
	} {
		a := s.get(target, operatorKey, 400)
		slug := "invalid-parameter"
		if strings.Contains(target, "?cursor=%2B") || strings.Contains(target, "?cursor=AAAA") {
			slug = "invalid-cursor"
		}
		s.problem(a, 400, slug, pointer)
		if s.store.calls != 0 {
			t.Fatalf("GET %s reached the store", target)
		}
	}
	// Everything that is wrong is said at once.
	p := s.problem(s.get("/v1/events?limit=0&order=up&zzz=1&from=x", operatorKey, 400), 400, "invalid-parameter", "")
	if len(p.Violations) != 4 {
		t.Errorf("violations = %+v; want four", p.Violations)
	}
	s.problem(s.get("/v1/events?a=%zz", operatorKey, 400), 400, "invalid-parameter", "")
	s.problem(s.get("/v1/events?a=1;b=2", operatorKey, 400), 400, "invalid-parameter", "")
}

// TestPagesWhileEventsArrive: pages neither repeat nor skip what was there,
// whatever the size of the pages and of the events.
func TestPagesWhileEventsArrive(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"asc", "desc"} {
		for _, limit := range []int{1, 3, 100, 250, 1000} {
			t.Run(fmt.Sprintf("%s by %d", order, limit), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				random := rand.New(rand.NewPCG(1, uint64(limit)))
				total := min(5*limit+2, 450)
				arrive := func(old bool) {
					id := fmt.Sprintf("late-%d", len(s.store.events))
					if old {
						id = fmt.Sprintf("old-%d", len(s.store.events))
					}
					s.add(event.Event{Application: "web", ID: id, SessionID: "s", Timestamp: at(random.IntN(50)), Sequence: int64(random.IntN(3)) - 1})
				}
				want := make(map[string]bool)
				for range total {
					arrive(true)
					want[s.store.events[len(s.store.events)-1].ID] = true
				}
				var seen []string
				cursor := ""
				for {
					target := fmt.Sprintf("/v1/events?category=page&order=%s&limit=%d", order, limit)
					if cursor != "" {
						target += "&cursor=" + cursor
					}
					page := decode[list[item]](t, s.get(target, operatorKey, 200))
					if len(page.Items) > limit {
						t.Fatalf("a page has %d items; want at most %d", len(page.Items), limit)
					}
					for _, i := range page.Items {
						if slices.Contains(seen, i.ID) {
							t.Fatalf("%s is there twice", i.ID)
						}
						seen = append(seen, i.ID)
						delete(want, i.ID)
					}
					if page.Next == nil {
						break
					}
					cursor = *page.Next
					if len(s.store.events) < 2*total {
						arrive(false)
					}
				}
				if len(want) > 0 {
					t.Errorf("%d of what was there was skipped", len(want))
				}
			})
		}
	}
}

func TestPagesOfLargeEventsAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	data := []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)
	for i := range 12 {
		s.add(event.Event{Application: "web", SessionID: "s", Timestamp: at(i), Sequence: event.NoSequence, Data: data})
		s.refuse(event.Refusal{Application: "web", Original: data, ReceivedAt: at(i)})
	}
	for _, path := range []string{"/v1/events", "/v1/quarantine"} {
		seen, cursor := 0, ""
		for {
			a := s.get(path+"?limit=1000&cursor="+cursor, operatorKey, 200)
			if len(a.body) > 10<<20 {
				t.Fatalf("GET %s: a page has %d bytes; want about 8 MiB at most", path, len(a.body))
			}
			page := decode[list[struct{}]](t, a)
			seen += len(page.Items)
			if page.Next == nil {
				break
			}
			cursor = *page.Next
		}
		if seen != 12 {
			t.Errorf("GET %s: %d items; want 12", path, seen)
		}
	}
}

func TestCursorsAreBoundToTheirList(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 5 {
		s.add(event.Event{Application: "web", SessionID: "s", Timestamp: at(i), Sequence: event.NoSequence})
		s.refuse(event.Refusal{Application: "web", Original: []byte{'x'}, ReceivedAt: at(i)})
		s.key(fmt.Sprintf("app-%d", i))
	}
	next := func(target string) string {
		page := decode[list[struct{}]](t, s.get(target, operatorKey, 200))
		if page.Next == nil {
			t.Fatalf("GET %s has no next", target)
		}
		return *page.Next
	}
	events := next("/v1/events?limit=1&category=page")
	for _, target := range []string{
		"/v1/events?category=page&limit=3&cursor=" + events,
		"/v1/events?category=page&order=desc&cursor=" + events,
		"/v1/quarantine?limit=2&cursor=" + next("/v1/quarantine?limit=1"),
		"/v1/applications?limit=2&cursor=" + next("/v1/applications?limit=1"),
	} {
		s.get(target, operatorKey, 200)
	}
	for _, target := range []string{
		"/v1/events?cursor=" + events,
		"/v1/events?category=page&order=asc&cursor=" + events,
		"/v1/events?category=page&application=web&cursor=" + events,
		"/v1/events?category=page&data.a=1&cursor=" + events,
		"/v1/events?category=page&to=2026-01-01T00:00:00Z&cursor=" + events,
		"/v1/events?name=page&cursor=" + events,
		"/v1/quarantine?category=page&cursor=" + events,
		"/v1/sessions?cursor=" + events,
		"/v1/sessions/s/events?cursor=" + events,
		"/v1/applications?cursor=" + events,
	} {
		s.problem(s.get(target, operatorKey, 400), 400, "invalid-cursor", "/cursor")
	}
	// Nor does somebody else's cursor go on where only they may.
	s.problem(s.get("/v1/events?category=page&cursor="+events, s.key("web", access.EventsRead), 400), 400, "invalid-cursor", "/cursor")
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(
		event.Event{Application: "web", ID: "1", SessionID: "a", Timestamp: at(0), Sequence: event.NoSequence},
		event.Event{Application: "app", ID: "2", SessionID: "a", Timestamp: at(9), Sequence: event.NoSequence, Category: "a/b", Name: "c%d"},
		event.Event{Application: "web", ID: "3", SessionID: "b/c", Timestamp: at(5), Sequence: event.NoSequence},
		event.Event{Application: "app", ID: "4", SessionID: "d", Timestamp: at(5), Sequence: event.NoSequence},
	)
	type session struct {
		ID           string `json:"session_id"`
		First        string `json:"first_timestamp"`
		Last         string `json:"last_timestamp"`
		Events       int
		Applications []string
	}
	ids := func(a answer) string {
		var ids []string
		for _, s := range decode[list[session]](t, a).Items {
			ids = append(ids, s.ID)
		}
		return strings.Join(ids, " ")
	}
	for query, want := range map[string]string{
		"":                          "b/c d a",
		"application=app":           "a d",
		"contains=page/view":        "b/c d a",
		"contains=a%252Fb/c%25d":    "a",
		"contains=page/none":        "",
		"from=2026-01-02T12:00:06Z": "a",
		"to=2026-01-02T12:00:05Z":   "a",
		"from=2026-01-02T12:00:05Z&to=2026-01-02T12:00:06Z": "b/c d a",
	} {
		if got := ids(s.get("/v1/sessions?"+query, operatorKey, 200)); got != want {
			t.Errorf("GET /v1/sessions?%s = %s; want %s", query, got, want)
		}
	}
	want := session{"a", "2026-01-02T12:00:00.000000Z", "2026-01-02T12:00:09.000000Z", 2, []string{"app", "web"}}
	if d := cmp.Diff(want, decode[session](t, s.get("/v1/sessions/a", operatorKey, 200))); d != "" {
		t.Errorf("session a (-want +got)\n%s", d)
	}
	web := s.key("web", access.EventsRead)
	want = session{"a", want.First, want.First, 1, []string{"web"}}
	if d := cmp.Diff(want, decode[session](t, s.get("/v1/sessions/a", web, 200))); d != "" {
		t.Errorf("session a as web sees it (-want +got)\n%s", d)
	}
	if got := ids(s.get("/v1/sessions", web, 200)); got != "b/c a" {
		t.Errorf("sessions as web sees them = %s; want b/c a", got)
	}
	if got := decode[session](t, s.get("/v1/sessions/b%2Fc", operatorKey, 200)); got.ID != "b/c" {
		t.Errorf("GET /v1/sessions/b%%2Fc = %v", got)
	}
	s.problem(s.get("/v1/sessions/none", operatorKey, 404), 404, "not-found", "")
	var paged []string
	cursor := ""
	for range 3 {
		page := decode[list[session]](t, s.get("/v1/sessions?limit=1&cursor="+cursor, operatorKey, 200))
		paged = append(paged, page.Items[0].ID)
		if page.Next != nil {
			cursor = *page.Next
		}
	}
	if got := strings.Join(paged, " "); got != "b/c d a" {
		t.Errorf("sessions page by page = %s; want b/c d a", got)
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	web, other := s.key("web", access.EventsWrite), s.key("other", access.EventsWrite, access.EventsRead)
	s.add(event.Event{Application: "web", ID: "1", SessionID: "a", Timestamp: at(0), Sequence: event.NoSequence})
	s.store.duplicates[event.At(2, 0)] = store.Duplicate{Position: event.At(2, 0), Original: event.At(1, 0)}
	s.store.duplicates[event.At(2, 1)] = store.Duplicate{Position: event.At(2, 1), Original: event.At(1, 0), Conflict: true}
	s.refuse(event.Refusal{Position: event.At(3, 0), Application: "web", Original: []byte("x")})
	s.journal[event.At(101, 0)] = event.Record{Event: &event.Event{Application: "web"}}
	s.journal[event.At(101, 1)] = event.Record{Refusal: &event.Refusal{Application: "web", Position: event.At(101, 1), Original: []byte("{"),
		Violations: []event.Violation{{Code: event.InvalidJSON, Message: "m"}}}}
	type outcome struct {
		Receipt, Disposition string
		Event                *item
		Violations           []event.Violation
	}
	for _, test := range []struct {
		at          event.Position
		disposition string
		event       string
		code        event.Code
	}{
		{event.At(1, 0), "stored", "1", ""},
		{event.At(2, 0), "duplicate", "1", ""},
		{event.At(2, 1), "duplicate", "1", event.IDConflict},
		{event.At(3, 0), "quarantined", "", event.Required},
		{event.At(101, 0), "pending", "", ""},
		{event.At(101, 1), "pending", "", event.InvalidJSON},
		{event.At(50, 0), "deleted", "", ""},
	} {
		receipt := s.receipts.Of(test.at)
		a := s.get("/v1/receipts/"+receipt, web, 200)
		got := decode[outcome](t, a)
		id, code := "", event.Code("")
		if got.Event != nil {
			id = got.Event.ID
		}
		if len(got.Violations) > 0 {
			code = got.Violations[0].Code
		}
		if got.Receipt != receipt || got.Disposition != test.disposition || id != test.event || code != test.code {
			t.Errorf("receipt of %d/%d = %s; want %s of %q with %q", test.at.Block(), test.at.Index(), a.body, test.disposition, test.event, test.code)
		}
		if test.disposition != "deleted" {
			s.get("/v1/receipts/"+receipt, other, 404)
		}
		s.get("/v1/receipts/"+receipt, operatorKey, 200)
	}
	for _, none := range []string{s.receipts.Of(event.At(200, 0)), "nonsense", "%00", s.receipts.Of(event.At(1, 0)) + "A"} {
		s.problem(s.get("/v1/receipts/"+none, operatorKey, 404), 404, "not-found", "")
	}
	// A refusal can be read before it is processed, by its receipt.
	if a := s.get("/v1/quarantine/"+s.receipts.Of(event.At(101, 1)), operatorKey, 200); !strings.Contains(a.body, `"original":"{"`) {
		t.Errorf("the pending refusal = %s", a.body)
	}
	s.get("/v1/quarantine/"+s.receipts.Of(event.At(101, 0)), operatorKey, 404)
}

// TestReceiptProcessedMeanwhile: between the look at what is committed and the
// look into the journal, the record was processed and the journal trimmed.
func TestReceiptProcessedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(event.Event{Position: event.At(101, 0), Application: "web", ID: "1", SessionID: "a", Timestamp: at(0), Sequence: event.NoSequence})
	asked := 0
	s.handler = s.rebuilt(func() uint64 {
		if asked++; asked == 1 {
			return 100
		}
		return 101
	})
	if a := s.get("/v1/receipts/"+s.receipts.Of(event.At(101, 0)), operatorKey, 200); !strings.Contains(a.body, `"stored"`) {
		t.Errorf("receipt = %s; want stored", a.body)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse(event.Refusal{Application: "web", Category: "page", Name: "view", ReceivedAt: at(1), Original: []byte(`{"a": "<b>"}`)})
	s.refuse(event.Refusal{Application: "app", ReceivedAt: at(2), Original: []byte{0xff, 0xfe, 'x'},
		Violations: []event.Violation{{Pointer: "", Code: event.InvalidJSON, Message: "no <JSON>"}, {Pointer: "/data/a", Code: event.Schema, Keyword: "enum", Message: "m"}}})
	type refusal struct {
		Receipt, Application string
		ReceivedAt           string `json:"received_at"`
		Category, Name       *string
		Original             *string
		OriginalBase64       []byte `json:"original_base64"`
		Violations           []event.Violation
	}
	all := decode[list[refusal]](t, s.get("/v1/quarantine", operatorKey, 200)).Items
	if len(all) != 2 || all[0].Application != "app" || all[1].Application != "web" {
		t.Fatalf("quarantine = %+v; want app's, then web's", all)
	}
	if all[0].Original != nil || !bytes.Equal(all[0].OriginalBase64, []byte{0xff, 0xfe, 'x'}) || all[0].Category != nil || len(all[0].Violations) != 2 || all[0].Violations[1].Keyword != "enum" {
		t.Errorf("app's = %+v; want the bytes in base64, no category, and both violations", all[0])
	}
	if all[1].Original == nil || *all[1].Original != `{"a": "<b>"}` || all[1].Category == nil || *all[1].Category != "page" {
		t.Errorf("web's = %+v; want the bytes as text and the category", all[1])
	}
	one := decode[refusal](t, s.get("/v1/quarantine/"+all[1].Receipt, operatorKey, 200))
	if d := cmp.Diff(all[1], one); d != "" {
		t.Errorf("the one (-listed +read)\n%s", d)
	}
	for query, want := range map[string]int{
		"application=web": 1, "category=page": 1, "name=view": 1, "name=none": 0, "code=schema": 1, "code=required": 1, "code=unheard_of": 0,
		"from=2026-01-02T12:00:02Z": 1, "to=2026-01-02T12:00:02Z": 1, "limit=1": 1,
	} {
		if got := decode[list[refusal]](t, s.get("/v1/quarantine?"+query, operatorKey, 200)); len(got.Items) != want {
			t.Errorf("GET /v1/quarantine?%s has %d; want %d", query, len(got.Items), want)
		}
	}
	if a := s.get("/v1/quarantine", operatorKey, 200); strings.Contains(a.body, `\u003c`) {
		t.Errorf("quarantine = %s; want no HTML escaping", a.body)
	}
}

func TestStoreInTrouble(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	secret := errors.New("SELECT * FROM /var/lib/eye/db")
	targets := []string{"/v1/events", "/v1/events/a/b", "/v1/sessions", "/v1/sessions/a", "/v1/sessions/a/events", "/v1/quarantine",
		"/v1/receipts/" + s.receipts.Of(event.At(1, 0)), "/v1/quarantine/" + s.receipts.Of(event.At(1, 0))}
	for _, trouble := range []struct {
		name   string
		down   error
		err    error
		status int
		slug   string
	}{
		{"down", secret, nil, 503, "store-unavailable"},
		{"broken", nil, fmt.Errorf("%w: %w", store.ErrBroken, secret), 503, "store-unavailable"},
		{"slow", nil, fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "too-slow"},
		{"failing", nil, secret, 500, "internal"},
	} {
		s.mu.Lock()
		s.down = trouble.down
		s.mu.Unlock()
		s.store.err = trouble.err
		for _, target := range targets {
			a := s.get(target, operatorKey, trouble.status)
			s.problem(a, trouble.status, trouble.slug, "")
			if strings.Contains(a.body, "SELECT") {
				t.Errorf("%s: GET %s tells %s", trouble.name, target, a.body)
			}
			if trouble.status == 503 && a.header.Get("Retry-After") == "" {
				t.Errorf("%s: GET %s has no Retry-After", trouble.name, target)
			}
		}
	}
	if !strings.Contains(s.logs.String(), "SELECT") {
		t.Error("the log does not say what was wrong")
	}
}
