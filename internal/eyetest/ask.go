package eyetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Last   bool // the service closes the connection behind it
}

// Do sends a request with the key; headers are names and values in turn.
func (s *Service) Do(t testing.TB, method, path, key string, body []byte, headers ...string) *Answer {
	t.Helper()
	a, err := s.Try(t, method, path, key, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Try is Do for requests that may fail to be answered at all.
func (s *Service) Try(t testing.TB, method, path, key string, body []byte, headers ...string) (*Answer, error) {
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w, err := s.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	return &Answer{Status: w.StatusCode, Header: w.Header, Body: text, Last: w.Close}, err
}

// Post sends events as JSON.
func (s *Service) Post(t testing.TB, key, body string, headers ...string) *Answer {
	t.Helper()
	return s.Do(t, "POST", "/v1/events", key, []byte(body), headers...)
}

// PostWait sends events and waits until they are readable (or refused).
func (s *Service) PostWait(t testing.TB, key, body string) *Answer {
	t.Helper()
	return s.Post(t, key, body, "Prefer", "wait=30")
}

// Get reads.
func (s *Service) Get(t testing.TB, key, path string) *Answer {
	t.Helper()
	return s.Do(t, "GET", path, key, nil)
}

// Want fails the test unless the answer has that status, and returns it.
func (a *Answer) Want(t testing.TB, status int) *Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("answer %d; want %d\n%.2000s", a.Status, status, a.Body)
	}
	return a
}

// JSON decodes the answer into to, numbers into json.Number.
func (a *Answer) JSON(t testing.TB, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.UseNumber()
	if err := d.Decode(to); err != nil {
		t.Fatalf("the answer is no JSON: %v\n%.2000s", err, a.Body)
	}
}

// Event is an event as it is read back, with the payload as it came.
type Event struct {
	Application string          `json:"application"`
	ID          string          `json:"id"`
	SessionID   string          `json:"session_id"`
	Category    string          `json:"category"`
	Name        string          `json:"name"`
	Data        json.RawMessage `json:"data"`
	Timestamp   string          `json:"timestamp"`
	Sequence    *int64          `json:"sequence"`
	ReceivedAt  string          `json:"received_at"`
	Position    int64           `json:"position"`
	Receipt     string          `json:"receipt"`
}

// Violation is a rule that was broken.
type Violation struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Receipt is what became of something sent.
type Receipt struct {
	Receipt     string      `json:"receipt"`
	Disposition string      `json:"disposition"`
	Event       *Event      `json:"event"`
	Violations  []Violation `json:"violations"`
}

// Accepted is the answer to one event, or to a batch.
type Accepted struct {
	Status   any    `json:"status"` // of a problem it is a number
	ID       string `json:"id"`
	Receipt  string `json:"receipt"`
	Accepted int    `json:"accepted"`
	Rejected int    `json:"rejected"`
	Receipts struct {
		First, Last string
	} `json:"receipts"`
	Errors  []Result `json:"errors"`
	Results []Result `json:"results"`
}

// Result is one event of a batch.
type Result struct {
	Index      int         `json:"index"`
	ID         string      `json:"id"`
	Status     string      `json:"status"`
	Receipt    string      `json:"receipt"`
	Violations []Violation `json:"violations"`
}

// page is one page of a list.
type page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// List reads all pages of a list of events, e.g. /v1/events?category=x.
func (s *Service) List(t testing.TB, key, path string) []Event {
	t.Helper()
	var all []Event
	for next := ""; ; {
		var p page[Event]
		s.Get(t, key, path+next).Want(t, 200).JSON(t, &p)
		all = append(all, p.Items...)
		if p.Next == nil {
			return all
		}
		join := "?"
		if strings.Contains(path, "?") {
			join = "&"
		}
		next = join + "cursor=" + *p.Next
	}
}

// NewApplication makes an application with those scopes and returns a key of it.
func (s *Service) NewApplication(t testing.TB, id string, scopes ...string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"id": id, "name": "Application " + id, "scopes": scopes})
	if err != nil {
		t.Fatal(err)
	}
	s.Do(t, "POST", "/v1/applications", s.Key, body).Want(t, 201)
	return s.NewKey(t, id)
}

// NewKey makes one more key of an application.
func (s *Service) NewKey(t testing.TB, id string) string {
	t.Helper()
	var made struct{ Secret string }
	s.Do(t, "POST", "/v1/applications/"+id+"/credentials", s.Key, []byte(`{"kind":"api_key"}`)).Want(t, 201).JSON(t, &made)
	return made.Secret
}

// Receipt asks what became of something sent.
func (s *Service) Receipt(t testing.TB, key, receipt string) Receipt {
	t.Helper()
	var r Receipt
	s.Get(t, key, "/v1/receipts/"+receipt).Want(t, 200).JSON(t, &r)
	return r
}

// Await asks for a receipt until its disposition is final.
func (s *Service) Await(t testing.TB, key, receipt string) Receipt {
	t.Helper()
	var r Receipt
	Eventually(t, "receipt "+receipt+" is processed", func() bool {
		r = s.Receipt(t, key, receipt)
		return r.Disposition != "pending"
	})
	return r
}

// Metric sums the samples of a metric whose labels contain all of those, each
// written name="value".
func (s *Service) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	var sum float64
lines:
	for line := range strings.Lines(string(s.Get(t, "", "/metrics").Want(t, 200).Body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &value); err != nil {
			t.Fatalf("metric %s: %v", line, err)
		}
		sum += value
	}
	return sum
}

// Eventually asks now and again until ok, and fails the test when that takes
// too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("after %v still not: %s", patience, what)
		case <-tick.C:
		}
	}
}
