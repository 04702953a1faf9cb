package ingest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/ingest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a journal in memory. It keeps what the real one would have on disk.
type memory struct {
	mu      sync.Mutex
	blocks  uint64
	records []event.Record
	err     error
	max     int
	fates   map[event.Position]event.Disposition
	stuck   bool // nothing is ever processed
}

func (m *memory) Append(_ context.Context, records []byte, count int) (event.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	m.blocks++
	first, n := event.At(m.blocks, 0), 0
	err := event.DecodeRecords(bytes.Clone(records), first, func(r event.Record) error {
		m.records = append(m.records, r)
		n++
		return nil
	})
	if err != nil || n != count {
		panic(fmt.Sprintf("the door wrote %d records that read as %d: %v", count, n, err))
	}
	return first, nil
}

func (m *memory) MaxAppendBytes() int { return m.max }

func (m *memory) Await(ctx context.Context, _ event.Position) error {
	if m.stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (m *memory) Dispositions(_ context.Context, first, last event.Position) ([]event.Disposition, error) {
	var out []event.Disposition
	for p := first; p <= last; p++ {
		if d, ok := m.fates[p]; ok {
			out = append(out, d)
		} else {
			out = append(out, event.Stored)
		}
	}
	return out, nil
}

// door is a Handler over a journal in memory.
type door struct {
	*ingest.Handler
	journal  *memory
	receipts *event.Receipts
}

var now = time.Date(2021, 1, 1, 10, 0, 0, 0, time.UTC)

func newDoor(t testing.TB, change ...func(*ingest.Limits)) *door {
	receipts, err := event.NewReceipts([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	limits := ingest.Limits{EventBytes: 1 << 20, RequestEvents: 10_000, RequestBytes: 16 << 20, InFlightBytes: 64 << 20}
	for _, f := range change {
		f(&limits)
	}
	j := &memory{max: 20 << 20}
	return &door{journal: j, receipts: receipts, Handler: ingest.New(ingest.Options{
		Log: slog.New(slog.DiscardHandler), Journal: j, Outcomes: j, Receipts: receipts, Limits: limits,
		Now: func() time.Time { return now },
	})}
}

var shop = &access.Principal{Application: "web-shop", FutureTolerance: time.Minute}

// post sends body and returns the status and the answer as JSON.
func (d *door) post(t testing.TB, body string, headers ...string) (int, map[string]any, http.Header) {
	t.Helper()
	r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r.WithContext(access.WithPrincipal(r.Context(), shop)))
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("the answer is no JSON: %v\n%s", err, w.Body)
	}
	if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %d has Content-Type %s", w.Code, w.Header().Get("Content-Type"))
	}
	return w.Code, answer, w.Header()
}

func one(id string) string {
	return fmt.Sprintf(`{"id":%q,"session_id":"s","category":"c","name":"n","data":{"n":1.50},"timestamp":"2021-01-01 09:15:27.243860"}`, id)
}

// bad has no data.
const bad = `{"id":"bad","session_id":"s","category":"c","name":"n","timestamp":"2021-01-01 09:15:27"}`

func TestOneEvent(t *testing.T) {
	d := newDoor(t)
	status, got, _ := d.post(t, one("e1"))
	want := map[string]any{"status": "accepted", "id": "e1", "receipt": d.receipts.Of(event.At(1, 0))}
	if diff := cmp.Diff(want, got); diff != "" || status != 202 {
		t.Errorf("answer %d (-want +got):\n%s", status, diff)
	}
	e := d.journal.records[0].Event
	if e.Application != "web-shop" || e.ReceivedAt.Time() != now || string(e.Data) != `{"n":1.50}` {
		t.Errorf("the journal has %+v", e)
	}
}

func TestTheServerGivesAnID(t *testing.T) {
	d := newDoor(t)
	_, got, _ := d.post(t, strings.Replace(one("x"), `"id":"x",`, "", 1))
	id := got["id"].(string)
	if len(id) != 36 || id[14] != '7' || d.journal.records[0].Event.ID != id {
		t.Errorf("id %q (journal: %q) is no UUIDv7", id, d.journal.records[0].Event.ID)
	}
}

func TestBatch(t *testing.T) {
	d := newDoor(t)
	status, got, _ := d.post(t, "["+one("a")+","+bad+","+one("b")+"]")
	receipts := got["receipts"].(map[string]any)
	if status != 202 || got["accepted"] != 2.0 || got["rejected"] != 1.0 || got["results"] != nil ||
		receipts["first"] != d.receipts.Of(event.At(1, 0)) || receipts["last"] != d.receipts.Of(event.At(1, 2)) {
		t.Errorf("answer %d %v", status, got)
	}
	want := []any{map[string]any{
		"index": 1.0, "id": "bad", "receipt": d.receipts.Of(event.At(1, 1)),
		"violations": []any{map[string]any{"pointer": "/data", "code": "required", "message": "data is missing"}},
	}}
	if diff := cmp.Diff(want, got["errors"]); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	r := d.journal.records[1].Refusal
	if r == nil || string(r.Original) != bad || r.Application != "web-shop" || r.Category != "c" {
		t.Errorf("quarantine gets %+v", r)
	}
}

func TestLinesAreABatch(t *testing.T) {
	for _, media := range []string{"application/x-ndjson", "application/jsonl", "application/x-ndjson; charset=utf-8"} {
		d := newDoor(t)
		status, got, _ := d.post(t, one("a")+"\n{broken\n"+one("b")+"\n", "Content-Type", media)
		if status != 202 || got["accepted"] != 2.0 || got["rejected"] != 1.0 {
			t.Errorf("%s: answer %d %v", media, status, got)
		}
		if r := d.journal.records[1].Refusal; string(r.Original) != "{broken" {
			t.Errorf("%s: quarantine gets %q", media, r.Original)
		}
	}
}

func TestRepresentation(t *testing.T) {
	d := newDoor(t)
	_, got, _ := d.post(t, "["+one("a")+","+bad+"]", "Prefer", "return=representation")
	want := []any{
		map[string]any{"index": 0.0, "id": "a", "status": "accepted", "receipt": d.receipts.Of(event.At(1, 0))},
		map[string]any{"index": 1.0, "id": "bad", "status": "quarantined", "receipt": d.receipts.Of(event.At(1, 1))},
	}
	if diff := cmp.Diff(want, got["results"]); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestWaiting(t *testing.T) {
	t.Run("gives the final disposition", func(t *testing.T) {
		d := newDoor(t)
		d.journal.fates = map[event.Position]event.Disposition{event.At(1, 0): event.Duplicate}
		status, got, header := d.post(t, one("a"), "Prefer", "wait=5")
		if status != 200 || got["status"] != "duplicate" || header.Get("Preference-Applied") != "wait=5" {
			t.Errorf("answer %d %v", status, got)
		}
	})
	t.Run("of each event of a batch", func(t *testing.T) {
		d := newDoor(t)
		d.journal.fates = map[event.Position]event.Disposition{event.At(1, 1): event.Quarantined}
		status, got, _ := d.post(t, "["+one("a")+","+bad+"]", "Prefer", "wait=5")
		results := got["results"].([]any)
		if status != 200 || results[0].(map[string]any)["status"] != "stored" || results[1].(map[string]any)["status"] != "quarantined" {
			t.Errorf("answer %d %v", status, got)
		}
	})
	t.Run("ends when the time is over", func(t *testing.T) {
		d := newDoor(t)
		d.journal.stuck = true
		status, got, header := d.post(t, one("a"), "Prefer", "wait=1")
		if status != 202 || got["status"] != "accepted" || header.Get("Preference-Applied") != "" {
			t.Errorf("answer %d %v", status, got)
		}
	})
	for _, wait := range []string{"wait=31", "wait=-1", "wait=x", "wait"} {
		if status, _, _ := newDoor(t).post(t, one("a"), "Prefer", wait); status != 400 {
			t.Errorf("Prefer: %s is answered %d; want 400", wait, status)
		}
	}
}

func TestRefusals(t *testing.T) {
	huge := strings.Replace(one("big"), `"n":1.50`, `"x":"`+strings.Repeat("y", 1<<20)+`"`, 1)
	for _, c := range []struct {
		name, body   string
		status       int
		pointer      string
		code         event.Code
		inQuarantine int
	}{
		{"one event", bad, 422, "/data", event.Required, 1},
		{"all events of a batch", "[" + bad + "," + bad + "]", 422, "", "", 2},
		{"no JSON", `{"a":`, 400, "", event.InvalidJSON, 1},
		{"no JSON in a batch", "[" + one("a") + ",", 400, "", event.InvalidJSON, 1},
		{"an empty batch", "[]", 400, "", event.Required, 1},
		{"an empty body", "", 400, "", event.InvalidJSON, 1},
		{"JSON that is no event", "42", 422, "", event.WrongType, 1},
		{"an event over a megabyte", huge, 413, "", event.TooLarge, 1},
		{"too many events", "[" + strings.Repeat("{},", 10_000) + "{}]", 413, "", "", 0},
		{"invalid UTF-8", "{\"id\":\"\xff\"}", 422, "/session_id", event.Required, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t)
			status, got, _ := d.post(t, c.body)
			if status != c.status {
				t.Errorf("answer %d %v; want %d", status, got, c.status)
			}
			if c.code != "" {
				v := got["violations"].([]any)[0].(map[string]any)
				if v["pointer"] != c.pointer || v["code"] != string(c.code) || v["message"] == "" {
					t.Errorf("first violation %v; want %s at %q", v, c.code, c.pointer)
				}
			}
			if n := len(d.journal.records); n != c.inQuarantine {
				t.Errorf("%d records in the journal; want %d", n, c.inQuarantine)
			}
			for _, r := range d.journal.records {
				if r.Refusal == nil || len(r.Refusal.Violations) == 0 {
					t.Errorf("an event was accepted, or refused without a reason: %+v", r)
				}
			}
			if c.inQuarantine == 1 {
				if got["receipt"] != d.receipts.Of(event.At(1, 0)) {
					t.Errorf("receipt %v", got["receipt"])
				}
				if original := d.journal.records[0].Refusal.Original; string(original) != c.body {
					t.Errorf("quarantine has %.100q; want the bytes as sent", original)
				}
			}
		})
	}
}

func TestTypesThatTheApplicationMayNotSend(t *testing.T) {
	d := newDoor(t)
	pattern, err := access.ParsePattern("other/*")
	if err != nil {
		t.Fatal(err)
	}
	limited := &access.Principal{Application: "limited", FutureTolerance: time.Minute, Patterns: []access.Pattern{pattern}}
	r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(one("a")))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r.WithContext(access.WithPrincipal(r.Context(), limited)))
	if w.Code != 403 || !strings.Contains(w.Body.String(), `"not_allowed"`) || d.journal.records[0].Refusal == nil {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
}

func TestUnknownMedia(t *testing.T) {
	for _, headers := range [][]string{
		{"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Type", ""},
		{"Content-Encoding", "br"}, {"Content-Encoding", "gzip, gzip"},
	} {
		if status, got, _ := newDoor(t).post(t, one("a"), headers...); status != 415 || got["detail"] == "" {
			t.Errorf("%v: answer %d %v; want 415", headers, status, got)
		}
	}
}

func compress(t testing.TB, coding string, body []byte) string {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if coding == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(body)
	w.Close()
	return b.String()
}

func TestCompressedBodies(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			d := newDoor(t)
			for range 3 { // the readers are used again
				if status, got, _ := d.post(t, compress(t, coding, []byte(one("a"))), "Content-Encoding", coding); status != 202 {
					t.Errorf("answer %d %v", status, got)
				}
			}
			if status, _, _ := d.post(t, "no such thing", "Content-Encoding", coding); status != 400 {
				t.Errorf("garbage is answered %d; want 400", status)
			}
			cut := compress(t, coding, []byte(one("a")))
			if status, _, _ := d.post(t, cut[:len(cut)-5], "Content-Encoding", coding); status != 400 {
				t.Errorf("a cut body is answered %d; want 400", status)
			}
			bomb := compress(t, coding, make([]byte, 64<<20))
			if status, _, _ := d.post(t, bomb, "Content-Encoding", coding); status != 413 {
				t.Errorf("a bomb of %d bytes is answered %d; want 413", len(bomb), status)
			}
			if status, _, _ := d.post(t, compress(t, coding, []byte(one("a"))), "Content-Encoding", coding); status != 202 {
				t.Error("a good request after a bad one is refused")
			}
		})
	}
}

func TestBounds(t *testing.T) {
	small := func(l *ingest.Limits) { l.RequestBytes, l.InFlightBytes = 1<<10, 16<<10 }
	d := newDoor(t, small)
	if status, _, _ := d.post(t, strings.Repeat(" ", 1<<10)+one("a")); status != 413 {
		t.Errorf("a body over the limit is answered %d; want 413", status)
	}
	r := httptest.NewRequest("POST", "/v1/events", io.LimitReader(zeros{}, 1<<40)) // no Content-Length
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r.WithContext(access.WithPrincipal(r.Context(), shop)))
	if w.Code != 413 {
		t.Errorf("an endless body is answered %d; want 413", w.Code)
	}

	d = newDoor(t, func(l *ingest.Limits) { l.InFlightBytes = 4 << 10 })
	if status, _, h := d.post(t, strings.Repeat(" ", 8<<10)+one("a")); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("more bytes than may be in flight are answered %d; want 503 with Retry-After", status)
	}
	if status, _, _ := d.post(t, one("a")); status != 202 {
		t.Errorf("the bytes of the refused request were not given back: %d", status)
	}

	d.journal.max = 10
	if status, _, _ := d.post(t, one("a")); status != 413 {
		t.Errorf("more than the journal takes at once is answered %d; want 413", status)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// full is an error of the journal that knows when to come again.
type full struct{}

func (full) Error() string             { return "no room on /dev/secret" }
func (full) RetryAfter() time.Duration { return 2500 * time.Millisecond }

func TestTheJournalCannot(t *testing.T) {
	for _, c := range []struct {
		err   error
		retry string
	}{{errors.New("broken"), "1"}, {fmt.Errorf("append: %w", full{}), "3"}} {
		for _, body := range []string{one("a"), bad, "{"} {
			d := newDoor(t)
			d.journal.err = c.err
			status, got, h := d.post(t, body)
			if status != 503 || h.Get("Retry-After") != c.retry || strings.Contains(fmt.Sprint(got), "secret") {
				t.Errorf("%v: answer %d %v, Retry-After %s", c.err, status, got, h.Get("Retry-After"))
			}
		}
	}
}

func TestRateLimit(t *testing.T) {
	clock := now
	d := newDoor(t)
	d.Handler = ingest.New(ingest.Options{
		Log: slog.New(slog.DiscardHandler), Journal: d.journal, Outcomes: d.journal, Receipts: d.receipts,
		Limits: ingest.Limits{EventBytes: 1 << 20, RequestEvents: 10_000, RequestBytes: 16 << 20, InFlightBytes: 64 << 20},
		Now:    func() time.Time { return clock },
	})
	send := func(application string, rate access.Rate, n int) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader("["+strings.TrimSuffix(strings.Repeat(one("a")+",", n), ",")+"]"))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		p := &access.Principal{Application: application, FutureTolerance: time.Hour, Rate: rate}
		d.ServeHTTP(w, r.WithContext(access.WithPrincipal(r.Context(), p)))
		return w
	}
	slow := access.Rate{PerSecond: 2, Burst: 10}
	for i, c := range []struct {
		application string
		rate        access.Rate
		after       time.Duration
		events      int
		status      int
		left, retry string
	}{
		{"a", slow, 0, 11, 413, `"default";r=10;t=0`, ""},
		{"a", slow, 0, 8, 202, `"default";r=2;t=4`, ""},
		{"a", slow, 0, 5, 429, `"default";r=2;t=4`, "2"},
		{"a", slow, 0, 2, 202, `"default";r=0;t=5`, ""},
		{"a", slow, 0, 1, 429, `"default";r=0;t=5`, "1"},
		{"b", slow, 0, 10, 202, `"default";r=0;t=5`, ""},
		{"c", access.Rate{}, 0, 1000, 202, "", ""},
		{"a", slow, 3 * time.Second, 6, 202, `"default";r=0;t=5`, ""},
		{"a", access.Rate{PerSecond: 100, Burst: 100}, 0, 50, 202, `"default";r=50;t=1`, ""},
	} {
		clock = clock.Add(c.after)
		w := send(c.application, c.rate, c.events)
		if h := w.Header(); w.Code != c.status || h.Get("RateLimit") != c.left || h.Get("Retry-After") != c.retry {
			t.Errorf("step %d: answer %d, RateLimit %s, Retry-After %q; want %d, %s, %q",
				i, w.Code, h.Get("RateLimit"), h.Get("Retry-After"), c.status, c.left, c.retry)
		}
	}
	before := len(d.journal.records)
	d.journal.err = errors.New("broken")
	send("d", slow, 10)
	d.journal.err = nil
	if w := send("d", slow, 10); w.Code != 202 || len(d.journal.records) != before+10 {
		t.Errorf("what the journal did not take was counted: answer %d", w.Code)
	}
}

// hanging is a journal that never answers.
type hanging struct{ memory }

func (*hanging) Append(ctx context.Context, _ []byte, _ int) (event.Position, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestNobodyIsLeftHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		d.Handler = ingest.New(ingest.Options{
			Log: slog.New(slog.DiscardHandler), Journal: &hanging{memory{max: 1 << 20}}, Receipts: d.receipts, Now: time.Now,
			Limits: ingest.Limits{EventBytes: 1 << 10, RequestEvents: 10, RequestBytes: 1 << 10, InFlightBytes: 1 << 20},
		})
		start := time.Now()
		status, _, h := d.post(t, one("a"))
		if took := time.Since(start); status != 503 || h.Get("Retry-After") == "" || took >= 5*time.Second {
			t.Errorf("answer %d after %v; want 503 with Retry-After within 5 s", status, took)
		}
	})
}

func TestRequestsDoNotMix(t *testing.T) {
	d := newDoor(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				id := fmt.Sprintf("%d-%d", i, j)
				if status, got, _ := d.post(t, one(id)); status != 202 || got["id"] != id {
					t.Errorf("answer %d %v; want id %s", status, got, id)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, r := range d.journal.records {
		seen[r.Event.ID] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different events in the journal; want 1000", len(seen))
	}
}

func BenchmarkServeHTTP(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			d := newDoor(b)
			d.Handler = ingest.New(ingest.Options{
				Log: slog.New(slog.DiscardHandler), Journal: discard{}, Receipts: d.receipts, Now: time.Now,
				Limits: ingest.Limits{EventBytes: 1 << 20, RequestEvents: 10_000, RequestBytes: 16 << 20, InFlightBytes: 64 << 20},
			})
			event := strings.Replace(one("0191f2a4-7c1e-7d3a-9c55-0123456789ab"), `"n":1.50`, `"blob":"`+base64.StdEncoding.EncodeToString(make([]byte, 220))+`"`, 1)
			body := event
			if n > 1 {
				body = "[" + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + "]"
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			ctx := access.WithPrincipal(b.Context(), shop)
			r := httptest.NewRequestWithContext(ctx, "POST", "/v1/events", nil)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = int64(len(body))
			src := strings.NewReader(body)
			r.Body = io.NopCloser(src)
			w := nobody{http.Header{}}
			for b.Loop() {
				src.Reset(body)
				d.ServeHTTP(w, r)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

type discard struct{}

func (discard) Append(context.Context, []byte, int) (event.Position, error) {
	return event.At(1, 0), nil
}
func (discard) MaxAppendBytes() int { return 20 << 20 }

type nobody struct{ h http.Header }

func (n nobody) Header() http.Header         { return n.h }
func (n nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n nobody) WriteHeader(status int) {
	if status != 202 {
		panic(status)
	}
}
