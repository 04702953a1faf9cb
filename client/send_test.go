package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

func TestSendNow(t *testing.T) {
	t.Parallel()
	good, nameless := click("s"), click("s")
	good.ID, nameless.ID, nameless.Name = "good", "bad", ""
	why := []client.Violation{{Pointer: "/name", Code: "too_long", Message: "name must have 1 to 128 characters"}}
	for _, test := range []struct {
		name   string
		wait   time.Duration
		events []client.Event
		want   []client.Outcome
	}{
		{"nothing", 0, nil, nil},
		{"one", 0, []client.Event{good}, []client.Outcome{{ID: "good", Receipt: "r1", Status: "accepted"}}},
		{"one bad", 0, []client.Event{nameless}, []client.Outcome{{ID: "bad", Receipt: "r1", Status: "rejected", Violations: why}}},
		{"all bad", 0, []client.Event{nameless, nameless}, []client.Outcome{
			{ID: "bad", Receipt: "r1", Status: "rejected", Violations: why}, {ID: "bad", Receipt: "r2", Status: "rejected", Violations: why}}},
		{"mixed", 0, []client.Event{good, nameless, click("s")}, []client.Outcome{
			{ID: "good", Receipt: "r1", Status: "accepted"}, {ID: "bad", Receipt: "r2", Status: "quarantined", Violations: why}, {Receipt: "r3", Status: "accepted"}}},
		{"one, waiting", time.Second, []client.Event{good}, []client.Outcome{{ID: "good", Receipt: "r1", Status: "stored"}}},
		{"twice, waiting", time.Millisecond, []client.Event{good, good}, []client.Outcome{
			{ID: "good", Receipt: "r1", Status: "stored"}, {ID: "good", Receipt: "r2", Status: "duplicate"}}},
	} {
		c := over(t, clienttest.New(), client.Options{})
		got, err := c.SendNow(t.Context(), test.events...)
		if test.wait > 0 {
			c = over(t, clienttest.New(), client.Options{})
			got, err = c.SendAndWait(t.Context(), test.wait, test.events...)
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for i := range got.Outcomes {
			if got.Outcomes[i].ID == "" {
				t.Errorf("%s: outcome %d has no id", test.name, i)
			}
			if len(test.want) > i && test.want[i].ID == "" {
				got.Outcomes[i].ID = ""
			}
		}
		if d := cmp.Diff(test.want, got.Outcomes, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
		var refused int
		for _, o := range test.want {
			if o.Violations != nil {
				refused++
			}
		}
		if got.Refused() != refused || got.Accepted() != len(test.want)-refused || (got.Err() != nil) != (refused > 0) {
			t.Errorf("%s: %d refused, %d accepted, %v; want %d refused", test.name, got.Refused(), got.Accepted(), got.Err(), refused)
		}
	}
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		time.Millisecond:        "wait=1",
		1500 * time.Millisecond: "wait=2",
		time.Hour:               "wait=30",
	} {
		s := clienttest.New()
		if _, err := over(t, s, client.Options{}).SendAndWait(t.Context(), wait, click("s")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Requests()[0].Header.Values("Prefer"), ", "); got != "return=representation, "+want {
			t.Errorf("waiting %v: Prefer = %q; want %s", wait, got, want)
		}
	}
}

func TestSendJSON(t *testing.T) {
	t.Parallel()
	const good = `{"id":"x","session_id":"s","category":"c","name":"n","data":{"n":1.0},"timestamp":"2021-01-01 09:15:27"}`
	pretty := strings.ReplaceAll(good, ",", ",\r\n\t")
	for _, test := range []struct {
		name   string
		events []string
		want   []string
	}{
		{"one", []string{good}, []string{"accepted"}},
		{"one of several lines", []string{pretty}, []string{"accepted"}},
		{"several of several lines", []string{pretty, pretty}, []string{"accepted", "accepted"}},
		{"one that is no JSON", []string{`{"id`}, []string{"rejected invalid_json"}},
		{"one that is something else", []string{`hello`}, []string{"rejected invalid_json"}},
		{"one that looks like a batch", []string{`[` + good + `,` + good + `]`}, []string{"rejected invalid_json"}},
		{"broken ones among good ones", []string{good, `{"id`, good, `[]`}, []string{"accepted", "quarantined invalid_json", "accepted", "quarantined invalid_json"}},
	} {
		var events []json.RawMessage
		for _, e := range test.events {
			events = append(events, json.RawMessage(e))
		}
		r, err := over(t, clienttest.New(), client.Options{}).SendJSON(t.Context(), 0, events...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, o := range r.Outcomes {
			line := o.Status
			for _, v := range o.Violations {
				line += " " + v.Code
			}
			got = append(got, line)
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
	if _, err := over(t, clienttest.New(), client.Options{}).SendJSON(t.Context(), 0, json.RawMessage(good), json.RawMessage(" \n")); err == nil {
		t.Error("SendJSON with an empty event succeeded; want an error")
	}
}

// A server that cannot take a line apart from its neighbours answers 400 for
// the whole batch, which then goes in halves.
func TestOneSpoilsTheBatch(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Type") == "application/x-ndjson" {
			r.Header.Set("Content-Type", "application/json")
		}
		return false
	}
	good := json.RawMessage(`{"session_id":"s","category":"c","name":"n","data":{},"timestamp":"2021-01-01 09:15:27"}`)
	r, err := over(t, s, client.Options{}).SendJSON(t.Context(), 0, good, good, json.RawMessage(`{]`), good)
	if err != nil || r.Accepted() != 3 || !r.Outcomes[2].Refused() {
		t.Errorf("SendJSON = %+v, %v; want all but the third accepted", r, err)
	}
}

func TestPatience(t *testing.T) {
	for _, test := range []struct {
		patience time.Duration
		failures int
		ok       bool
	}{
		{0, 0, true}, {0, 1, false}, {time.Minute, 3, true}, {time.Second, 1000, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := clienttest.New()
			s.Intercept = failing(test.failures, http.StatusServiceUnavailable)
			start := time.Now()
			r, err := over(t, s, client.Options{Patience: test.patience}).SendNow(t.Context(), click("s"))
			if (err == nil) != test.ok || (r.Accepted() == 1) != test.ok || time.Since(start) > test.patience {
				t.Errorf("patience %v, %d failures: SendNow = %+v, %v after %v; want ok %v",
					test.patience, test.failures, r, err, time.Since(start), test.ok)
			}
		})
	}
}

func TestContextEndsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		s.Intercept = failing(1000, http.StatusServiceUnavailable, "Retry-After", "60")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := over(t, s, client.Options{Patience: time.Hour}).SendNow(ctx, click("s"))
		if err == nil || time.Since(start) != time.Second {
			t.Errorf("SendNow = %v after %v; want an error after 1s", err, time.Since(start))
		}
	})
}

// A call that fails half way tells what it knows.
func TestPartOfABatch(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	turn := 0
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		turn++
		switch turn {
		case 1:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case 3:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			return false
		}
		return true
	}
	r, err := over(t, s, client.Options{}).SendNow(t.Context(), click("a"), click("b"), click("c"), click("d"))
	var got []string
	for _, o := range r.Outcomes {
		got = append(got, o.Status)
	}
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 500 {
		t.Errorf("SendNow = %v; want the problem 500", err)
	}
	if d := cmp.Diff([]string{"accepted", "accepted", "", ""}, got); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
}

func TestAnswersThatBreakTheContract(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"status":"accepted"}`, `{"accepted":1,"rejected":0,"errors":[]}`,
		`{"accepted":1,"rejected":1,"errors":[{"index":2}]}`, `{"accepted":2,"rejected":0,"results":[{"index":-1}]}`,
		`{"accepted":1,"rejected":1,"errors":[]}`, `[]`, `null`, `<html>`, ``,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := clienttest.New()
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				fmt.Fprint(w, body)
				return true
			}
			r, err := over(t, s, client.Options{}).SendNow(t.Context(), click("a"), click("b"))
			if err == nil || r.Accepted() != 0 {
				t.Errorf("after the answer %q SendNow = %+v, %v; want an error", body, r, err)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	for _, compression := range []client.Compression{client.Zstd, client.Gzip} {
		s := clienttest.New()
		c := over(t, s, client.Options{Compression: compression})
		events := make([]client.Event, 100)
		for i := range events {
			events[i] = click("s")
		}
		for range 2 { // compressors are used again
			if r, err := c.SendNow(t.Context(), events...); err != nil || r.Accepted() != 100 {
				t.Errorf("%s: %d accepted, %v; want 100", compression, r.Accepted(), err)
			}
		}
		if _, err := c.SendNow(t.Context(), events[0]); err != nil {
			t.Error(err)
		}
		requests := s.Requests()
		for i, want := range []client.Compression{compression, compression, client.Uncompressed} {
			r := requests[i]
			if got := r.Header.Get("Content-Encoding"); got != string(want) {
				t.Errorf("request %d of %d bytes: Content-Encoding = %q; want %q", i, len(r.Body), got, want)
			}
		}
		if n := len(requests[0].Body); n > 8000 {
			t.Errorf("%s: 100 events made %d bytes; want them compressed", compression, n)
		}
	}
}

func BenchmarkEncodeBatch(b *testing.B) {
	for _, compression := range []client.Compression{client.Uncompressed, client.Zstd, client.Gzip} {
		b.Run("compression="+string(compression), func(b *testing.B) {
			c, err := client.New("http://eye.test", client.Options{
				Compression: compression,
				HTTPClient:  &http.Client{Transport: accepting{}},
			})
			if err != nil {
				b.Fatal(err)
			}
			events := make([]client.Event, 100)
			for i := range events {
				events[i] = client.Event{
					SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423", Category: "page interaction", Name: "cta click",
					Data: map[string]any{"host": "www.example.com", "path": "/", "element": "chat bubble", "n": i}, Timestamp: time.Now(),
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.SendNow(b.Context(), events...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
		})
	}
}

// accepting answers that all events were accepted.
type accepting struct{}

func (accepting) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	answer := `{"status":"accepted"}`
	if n := bytes.Count(body, []byte("\n")); r.Header.Get("Content-Encoding") != "" {
		answer = `{"accepted":100,"rejected":0}` // as many as the benchmark compresses
	} else if n > 0 {
		answer = fmt.Sprintf(`{"accepted":%d,"rejected":0}`, n)
	}
	return &http.Response{StatusCode: 202, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func BenchmarkSender(b *testing.B) {
	c, err := client.New("http://eye.test", client.Options{HTTPClient: &http.Client{Transport: accepting{}}})
	if err != nil {
		b.Fatal(err)
	}
	s := c.NewSender(client.SenderOptions{BatchEvents: 100, BatchDelay: -1})
	data := json.RawMessage(`{"host":"www.example.com","path":"/","element":"chat bubble","n":1}`)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		err := s.Send(b.Context(), client.Event{
			SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423", Category: "page interaction", Name: "cta click", Data: data, Timestamp: now,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(s.Stats().Accepted)/b.Elapsed().Seconds(), "accepted/s")
}
