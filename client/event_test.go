package client_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// sent is the body that a single event makes.
func sent(t *testing.T, e client.Event) string {
	t.Helper()
	s := clienttest.New()
	if _, err := over(t, s, client.Options{}).SendNow(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return string(s.Requests()[0].Body)
}

func TestEncode(t *testing.T) {
	t.Parallel()
	at := time.Date(2021, 1, 1, 10, 15, 27, 243860999, time.FixedZone("", 3600))
	const head = `{"id":"i","session_id":"s","category":"c","name":"n","timestamp":"2021-01-01T09:15:27.243860Z"`
	base := client.Event{ID: "i", SessionID: "s", Category: "c", Name: "n", Timestamp: at}
	for _, test := range []struct {
		name   string
		change func(*client.Event)
		want   string
	}{
		{"no data is the empty object", func(e *client.Event) {}, head + `,"data":{}}`},
		{"sequence zero is a sequence", func(e *client.Event) { e.Sequence = client.Sequence(0) }, head + `,"sequence":0,"data":{}}`},
		{"a map", func(e *client.Event) { e.Data = map[string]any{"b": 1, "a": "<&>"} }, head + `,"data":{"a":"<&>","b":1}}`},
		{"a struct", func(e *client.Event) {
			e.Data = struct {
				Path string `json:"path"`
			}{"/"}
		}, head + `,"data":{"path":"/"}}`},
		{"raw JSON keeps its numbers and order", func(e *client.Event) { e.Data = json.RawMessage(`{"b": 1.10, "a": 1e2}`) }, head + `,"data":{"b": 1.10, "a": 1e2}}`},
		{"raw JSON loses its line breaks", func(e *client.Event) { e.Data = json.RawMessage("{\n\"a\":\r\n1}") }, head + `,"data":{ "a":  1}}`},
		{"text is escaped", func(e *client.Event) { e.SessionID = "a\"\\\n\x01<é\u2028" },
			strings.Replace(head, `"s"`, `"a\"\\\u000a\u0001<é`+"\u2028"+`"`, 1) + `,"data":{}}`},
	} {
		e := base
		test.change(&e)
		if d := cmp.Diff(test.want, sent(t, e)); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

func TestEncodeFillsIn(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Microsecond)
	var got struct {
		ID        string
		Timestamp time.Time
	}
	if err := json.Unmarshal([]byte(sent(t, client.Event{SessionID: "s"})), &got); err != nil {
		t.Fatal(err)
	}
	if got.Timestamp.Before(before) || got.Timestamp.After(time.Now()) {
		t.Errorf("timestamp = %v; want now", got.Timestamp)
	}
	if !uuidv7.MatchString(got.ID) {
		t.Errorf("id = %q; want a UUIDv7", got.ID)
	}
}

func TestCannotEncode(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	c := over(t, s, client.Options{})
	for name, e := range map[string]client.Event{
		"a function":     {Data: func() {}},
		"broken JSON":    {Data: json.RawMessage(`{"a":`)},
		"no JSON at all": {Data: json.RawMessage(nil)},
		"invalid UTF-8":  {SessionID: "\xff"},
	} {
		if _, err := c.SendNow(t.Context(), e); err == nil {
			t.Errorf("SendNow with %s succeeded; want an error", name)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests were made; want none", n)
	}
}

var uuidv7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestNewID(t *testing.T) {
	t.Parallel()
	var ids []string
	seen := map[string]bool{}
	for range 1000 {
		id := client.NewID()
		if !uuidv7.MatchString(id) || seen[id] {
			t.Fatalf("NewID = %q; want a fresh UUIDv7", id)
		}
		seen[id] = true
		ids = append(ids, id[:18]) // the time
	}
	if !slices.IsSorted(ids) {
		t.Error("NewID: the times inside do not grow")
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		key    string
		status int
		has    []string
	}{
		{"wrong key", "wrong", 401, []string{"401 Who are you?: Send a valid key", "check the key", "[request test-request]"}},
		{"no scope", "writer", 403, []string{"403 Not allowed: This needs the scope events:read", "needs a scope"}},
		{"nothing there", clienttest.OperatorKey, 404, []string{"404 Not found: There is no such event"}},
	} {
		s := clienttest.New()
		key := test.key
		if key == "writer" {
			key = s.AddApplication("shop", "events:write")
		}
		_, err := over(t, s, client.Options{Key: key}).Event(t.Context(), "shop", "x")
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != test.status {
			t.Errorf("%s: Event = %v; want a problem %d", test.name, err, test.status)
			continue
		}
		for _, want := range test.has {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", test.name, err, want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://127.0.0.1:8080":         "http://127.0.0.1:8080",
		"https://eye.example.com/":      "https://eye.example.com",
		"https://example.com/some/eye/": "https://example.com/some/eye",
		"127.0.0.1:8080":                "",
		"localhost:8080":                "",
		"eye.example.com":               "",
		"":                              "",
		"ftp://example.com":             "",
		"http://user:secret@eye":        "",
		"ftp://user:secret@eye":         "",
		"http://user:secret@eye:x":      "",
		"http://eye?x=1":                "",
		"http://eye#x":                  "",
		"http://":                       "",
		"http://%zz":                    "",
	} {
		c, err := client.New(address, client.Options{})
		switch {
		case want == "" && err == nil:
			t.Errorf("New(%q) succeeded; want an error", address)
		case want != "" && (err != nil || c.URL() != want):
			t.Errorf("New(%q) = %v; want %s", address, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("New(%q) tells the secret: %v", address, err)
		}
	}
	if _, err := client.New("http://eye", client.Options{Compression: "br"}); err == nil {
		t.Error("New with an unknown compression succeeded; want an error")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("s", "c", "n", `{"a":1}`)
	f.Add("\x00\"\\", "\u2028é", "\x7f", "{\"a\":\n\"\\n\"}")
	f.Add("\xff", "", "", "{")
	f.Fuzz(func(t *testing.T, session, category, name, data string) {
		s := clienttest.New()
		e := client.Event{ID: "i", SessionID: session, Category: category, Name: name, Data: json.RawMessage(data), Timestamp: time.Unix(0, 0)}
		if _, err := over(t, s, client.Options{}).SendNow(t.Context(), e); err != nil {
			return
		}
		body := s.Requests()[0].Body
		if strings.ContainsAny(string(body), "\r\n") {
			t.Fatalf("the event has line breaks: %q", body)
		}
		var back struct {
			SessionID string `json:"session_id"`
			Category  string
			Name      string
			Data      json.RawMessage
		}
		if err := json.Unmarshal(body, &back); err != nil {
			t.Fatalf("%q is no JSON: %v", body, err)
		}
		if back.SessionID != session || back.Category != category || back.Name != name {
			t.Errorf("came back as %q; want %q, %q, %q", back, session, category, name)
		}
		var want, got any
		if json.Unmarshal([]byte(data), &want) != nil || json.Unmarshal(back.Data, &got) != nil || !cmp.Equal(want, got) {
			t.Errorf("data came back as %s; want %s", back.Data, data)
		}
	})
}
