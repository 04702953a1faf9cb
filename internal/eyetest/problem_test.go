package eyetest_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/the-eye/eye/internal/eyetest"
)

// problem is what every refusal must look like.
type problem struct {
	Type       string              `json:"type"`
	Title      string              `json:"title"`
	Status     int                 `json:"status"`
	Detail     string              `json:"detail"`
	RequestID  string              `json:"request_id"`
	Violations []eyetest.Violation `json:"violations"`
}

// inner is text that belongs into the log, never into an answer.
var inner = regexp.MustCompile(`(?i)goroutine|panic|\.go:\d|/tmp/|/home/|duckdb|nats:|jetstream|runtime error|SELECT |INSERT |zstd: |gzip: |flate: |unexpected EOF|context (deadline|canceled)|internal/|klauspost`)

// problemOf fails the test unless the answer is a whole problem with the status.
func problemOf(t testing.TB, a *eyetest.Answer, status int) problem {
	t.Helper()
	if a.Status != status {
		t.Errorf("answer %d; want %d\n%.1000s", a.Status, status, a.Body)
		return problem{}
	}
	return anyProblem(t, a)
}

// anyProblem fails the test unless the answer is a whole problem of any 4xx or
// 503.
func anyProblem(t testing.TB, a *eyetest.Answer) problem {
	t.Helper()
	if a.Status < 400 || a.Status >= 500 && a.Status != 503 {
		t.Errorf("answer %d; want 4xx or 503\n%.1000s", a.Status, a.Body)
		return problem{}
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("answer %d has Content-Type %q; want application/problem+json\n%.1000s", a.Status, got, a.Body)
		return problem{}
	}
	var p problem
	if err := json.Unmarshal(a.Body, &p); err != nil {
		t.Errorf("answer %d is no JSON: %v\n%.1000s", a.Status, err, a.Body)
		return problem{}
	}
	if p.Status != a.Status || p.Type == "" || p.Title == "" || p.Detail == "" || p.RequestID == "" {
		t.Errorf("answer %d lacks type, title, detail, request_id or its status:\n%.1000s", a.Status, a.Body)
	}
	if p.RequestID != a.Header.Get("X-Request-Id") {
		t.Errorf("request_id is %q in the body and %q in the header", p.RequestID, a.Header.Get("X-Request-Id"))
	}
	if found := inner.FindString(string(a.Body)); found != "" {
		t.Errorf("answer %d has internal text %q:\n%.1000s", a.Status, found, a.Body)
	}
	if a.Status == 503 && a.Header.Get("Retry-After") == "" {
		t.Errorf("answer 503 without Retry-After:\n%.1000s", a.Body)
	}
	if len(a.Body) > 1<<20 {
		t.Errorf("answer %d has %d bytes: %s", a.Status, len(a.Body), strings.ToValidUTF8(string(a.Body[:200]), "?"))
	}
	return p
}
