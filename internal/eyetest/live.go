package eyetest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Stream is a reader of GET /v1/live.
type Stream struct {
	Last string // the id of the last event read: where to resume

	lines *bufio.Scanner
	stop  func()
}

// Live follows events; query is "" or begins with ?, and lastID is "" or where
// to resume. It returns once the stream has begun: events sent from then on are
// shown.
func (s *Service) Live(t testing.TB, key, query, lastID string) *Stream {
	t.Helper()
	// The context is the stream's own, so that a test can hold it as long as it
	// likes; it ends with the test at the latest.
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/v1/live"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	client := &http.Client{Transport: s.Client.Transport}
	w, err := client.Do(r)
	if err != nil {
		t.Fatalf("GET /v1/live: %v", err)
	}
	stop := func() {
		cancel()
		w.Body.Close()
	}
	t.Cleanup(stop)
	if w.StatusCode != http.StatusOK {
		t.Fatalf("GET /v1/live: answer %d", w.StatusCode)
	}
	stream := &Stream{Last: lastID, lines: bufio.NewScanner(w.Body), stop: stop}
	stream.lines.Buffer(nil, 20<<20)
	if !stream.lines.Scan() {
		t.Fatalf("GET /v1/live: the stream ends at once: %v", stream.lines.Err())
	}
	return stream
}

// Next is the next event, false when the stream has ended, or when none comes
// in the time of a test's patience.
func (s *Stream) Next() (Event, bool) {
	impatient := time.AfterFunc(patience, s.stop)
	defer impatient.Stop()
	id := ""
	for s.lines.Scan() {
		line := s.lines.Text()
		if value, ok := strings.CutPrefix(line, "id: "); ok {
			id = value
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e Event
			if json.Unmarshal([]byte(data), &e) != nil || e.Receipt != id {
				return e, false
			}
			s.Last = id
			return e, true
		}
	}
	return Event{}, false
}

// Close ends the stream.
func (s *Stream) Close() { s.stop() }
