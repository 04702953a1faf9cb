package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/the-eye/eye/internal/event"
)

func testClient(o Options) *client {
	return newClient(newLoad(o, target{"127.0.0.1:1", "eye_key"}, 42), 3)
}

// wire is an event as it goes over the wire; every field is known.
type wire struct {
	ID        string          `json:"id"`
	SessionID string          `json:"session_id"`
	Category  string          `json:"category"`
	Name      string          `json:"name"`
	Data      json.RawMessage `json:"data"`
	Timestamp string          `json:"timestamp"`
}

// sent parses the client's request as a server would.
func sent(t *testing.T, c *client) []wire {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(c.request))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("ReadRequest: %v\n%s", err, c.request)
	}
	if r.Method != "POST" || r.URL.Path != "/v1/events" || r.Host != "127.0.0.1:1" ||
		r.Header.Get("Authorization") != "Bearer eye_key" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request is %+v", r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("%d bytes behind the request", len(rest))
	}
	var events []wire
	if c.load.opts.Events == 1 {
		events = make([]wire, 1)
		err = json.Unmarshal(body, &events[0])
	} else {
		err = json.Unmarshal(body, &events)
	}
	if err != nil {
		t.Fatalf("body: %v\n%s", err, body)
	}
	return events
}

func TestRequestIsWellFormed(t *testing.T) {
	t.Parallel()
	session := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, n := range []int{1, 2, 100, 1000} {
		o := Defaults()
		o.Events = n
		c := testClient(o)
		now := time.Date(2026, 11, 23, 12, 0, 0, 999_998_000, time.UTC) // the second ends within the request
		c.build(now)
		c.build(now)
		events := sent(t, c)
		if len(events) != n {
			t.Fatalf("%d events; want %d", len(events), n)
		}
		var size, data int
		for i, e := range events {
			if want := event.Now(now.Add(time.Duration(i) * time.Microsecond)).String(); e.Timestamp != want {
				t.Errorf("timestamp %d is %s; want %s", i, e.Timestamp, want)
			}
			if nm, ok := c.load.ids.parse(e.ID); !ok || nm != (name{3, uint64(n + i)}) {
				t.Errorf("id %d is %q, which parses as %v, %v", i, e.ID, nm, ok)
			}
			if !session.MatchString(e.SessionID) || e.Category == "" || e.Name == "" || e.Data[0] != '{' {
				t.Errorf("event %d is %+v", i, e)
			}
			data += len(e.Data)
			size += c.slots[i].end - c.slots[i].start
		}
		if size, data := size/n, data/n; n >= 100 && (size < 400 || size > 550 || data < 250 || data > 350) {
			t.Errorf("an event has %d bytes, its data %d; want about 450 and 300", size, data)
		}
	}
}

func TestThreeCategoriesAndVariedData(t *testing.T) {
	t.Parallel()
	o := Defaults()
	o.Events = 1000
	c := testClient(o)
	c.build(time.Now())
	categories, types, datas := map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range sent(t, c) {
		categories[e.Category]++
		types[e.Category+e.Name]++
		datas[string(e.Data)]++
	}
	if len(categories) != 3 || len(types) != 9 || len(datas) != 1000 {
		t.Errorf("%d categories, %d types, %d payloads; want 3, 9, 1000", len(categories), len(types), len(datas))
	}
}

func TestSessionsHaveTwelveEvents(t *testing.T) {
	t.Parallel()
	s := ids{7}
	events, last := map[string]int{}, map[string]int{}
	var id [idLen]byte
	const n = 20_000
	for conn := range uint16(3) {
		for i := range n {
			s.putSession(id[:], name{conn, uint64(i)})
			events[string(id[:])]++
			last[string(id[:])] = i
		}
	}
	for id, got := range events {
		complete := last[id] < n-2*liveSessions*sessionEvents && last[id] >= liveSessions*sessionEvents
		if got > sessionEvents || complete && got != sessionEvents {
			t.Errorf("session %s has %d events; want %d", id, got, sessionEvents)
		}
	}
}

func TestSpoiltEventsAreRefused(t *testing.T) {
	t.Parallel()
	o := Defaults()
	o.Events, o.Bad = 400, 1
	c := testClient(o)
	c.build(time.Now())
	reasons := map[string]int{}
	for i, e := range sent(t, c) {
		at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
		switch {
		case err != nil:
			reasons["timestamp"]++
		case at.After(time.Now().Add(time.Hour)):
			reasons["future"]++
		case e.Category == "":
			reasons["category"]++
		case e.SessionID == "":
			reasons["session"]++
		default:
			t.Errorf("nothing is wrong with event %d: %+v", i, e)
		}
	}
	if len(reasons) != 4 {
		t.Errorf("reasons are %v; want four", reasons)
	}
}

func TestRepeatsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	o := Defaults()
	o.Events, o.Duplicates = 10, 0.3
	c := testClient(o)
	seen := map[string]bool{}
	var repeats int
	for range 50 {
		c.build(time.Now())
		for _, s := range c.slots {
			e := string(c.request[s.start:s.end])
			if seen[e] != (s.kind == repeat) {
				t.Fatalf("event of kind %d was sent before: %v: %s", s.kind, seen[e], e)
			}
			if s.kind == repeat {
				repeats++
			}
			seen[e] = true
		}
		c.body = []byte(`{"accepted":10,"rejected":0,"receipts":{}}`)
		if got := c.settle(202); got != (settled{accepted: 10}) {
			t.Fatalf("settle = %+v", got)
		}
	}
	if repeats < 100 || repeats > 200 {
		t.Errorf("%d of 500 are repeats; want about 150", repeats)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := ids{rapid.Uint64().Draw(t, "key")}
		want := name{rapid.Uint16().Draw(t, "conn"), rapid.Uint64Max(1<<48-1).Draw(t, "n")}
		at := event.Micros(rapid.Int64Range(0, 1<<52).Draw(t, "at"))
		var id [idLen]byte
		s.put(id[:], want, at)
		if got, ok := s.parse(string(id[:])); !ok || got != want {
			t.Fatalf("parse(%s) = %v, %v; want %v", id[:], got, ok, want)
		}
		if x := rapid.Uint64().Draw(t, "x"); unscramble(scramble(x)) != x {
			t.Fatalf("unscramble(scramble(%#x)) = %#x", x, unscramble(scramble(x)))
		}
	})
	for _, id := range []string{"", "x", strings.Repeat("x", idLen), "0191f2a4-0000-4000-8000-000000000000", "0191f2a4+0000-7000-8000-000000000000"} {
		if nm, ok := (ids{1}).parse(id); ok {
			t.Errorf("parse(%q) = %v; want none", id, nm)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Spread over all magnitudes, not only the large ones.
		values := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(0, 40).Draw(t, "bits")).Draw(t, "value"))
		}), 1, 200).Draw(t, "values")
		var h Histogram
		for _, v := range values {
			h.Record(v)
		}
		slices.Sort(values)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		rank := 0 // of the smallest value that the share q does not exceed
		for rank < len(values)-1 && float64(rank+1) < q*float64(len(values)) {
			rank++
		}
		want := values[rank]
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/steps) {
			t.Fatalf("Quantile(%v) of %v = %v; want %v and at most 0.8 %% more", q, values, int64(got), int64(want))
		}
		if h.Count() != int64(len(values)) || h.Max() != values[len(values)-1] || h.Quantile(1) != h.Max() {
			t.Fatalf("Count, Max, Quantile(1) = %d, %v, %v; want %d, %v", h.Count(), h.Max(), h.Quantile(1), len(values), values[len(values)-1])
		}
	})
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Errorf("Quantile of nothing = %v; want 0", h.Quantile(0.5))
	}
	h.Record(-1)
	h.Record(1<<63 - 1)
	if h.Quantile(0) != 0 || h.Max() != maxElapsed {
		t.Errorf("Quantile(0), Max = %v, %v; want 0, %v", h.Quantile(0), h.Max(), maxElapsed)
	}
}

func TestBucketsFollowEachOther(t *testing.T) {
	t.Parallel()
	for b := range buckets - 1 {
		if top := topOf(b); bucketOf(top) != b || bucketOf(top+1) != b+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, and %d is in %d", b, top, bucketOf(top), top+1, bucketOf(top+1))
		}
	}
}

func TestBookTellsWhenEventsHappened(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var b book
	var want, got []event.Micros
	at := event.Micros(1_790_000_000_000_000)
	for range 1000 {
		at += event.Micros(rng.IntN(100_000))
		n := uint64(rng.IntN(20))
		if first := b.open(at, n); first != uint64(len(want)) {
			t.Fatalf("open = %d; want %d", first, len(want))
		}
		for i := range n {
			want = append(want, at+event.Micros(i))
		}
	}
	b.each(func(n uint64, at event.Micros) {
		if n != uint64(len(got)) {
			t.Fatalf("each: event %d; want %d", n, len(got))
		}
		got = append(got, at)
	})
	if !slices.Equal(got, want) {
		t.Errorf("each tells other times than open was told")
	}
	if len(b.log) > 5*1000+10 {
		t.Errorf("1,000 requests take %d bytes", len(b.log))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, body string
		want           answer
	}{
		{"length", "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nhi", "hi", answer{status: 202}},
		{"nothing in it", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", answer{status: 204}},
		{"chunks", "HTTP/1.1 422 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", answer{status: 422}},
		{"chunks and trailer", "HTTP/1.1 422 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n", "abc", answer{status: 422}},
		{"advice", "HTTP/1.1 503 X\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "x", answer{503, true, time.Second}},
		{"advice for long", "HTTP/1.1 429 X\r\nRetry-After: 3600\r\nContent-Length: 1\r\n\r\nx", "x", answer{429, false, time.Second}},
	} {
		c := testClient(Defaults())
		c.in = bufio.NewReader(strings.NewReader(tt.in + tt.in))
		for range 2 { // the second follows at once: nothing too much was read, nor too little
			got, err := c.read()
			if err != nil || got != tt.want || string(c.body) != tt.body {
				t.Errorf("%s: read = %+v, %v, body %q; want %+v, body %q", tt.name, got, err, c.body, tt.want, tt.body)
			}
		}
	}
	for _, in := range []string{
		"", "HTTP/1.1 202 Accepted\r\n", "HTTP/1.1 202 Accepted\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/2 200\r\n\r\n",
		"HTTP/1.1 abc \r\n\r\n", "HTTP/1.1 202 X\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 202 X\r\nContent-Length: 99999999999\r\n\r\n",
		"HTTP/1.1 202 X\r\nContent-Length: 3\r\n\r\nab", "HTTP/1.1 202 X\r\nno header\r\n\r\n",
		"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		c := testClient(Defaults())
		c.in = bufio.NewReader(strings.NewReader(in))
		if got, err := c.read(); err == nil {
			t.Errorf("read of %q = %+v; want an error", in, got)
		}
	}
}

func TestSlope(t *testing.T) {
	t.Parallel()
	of := func(numbers ...float64) []sample {
		var all []sample
		for i, n := range numbers {
			all = append(all, sample{At: float64(i) / 2, Backlog: n})
		}
		return all
	}
	for _, tt := range []struct {
		in   []sample
		want float64
		ok   bool
	}{
		{of(10, 20, 30, 40), 20, true},
		{of(5, 5, 5), 0, true},
		{of(10, -1, 20, -1, 30), 10, true}, // where it is unknown it does not count
		{of(1, 2), 0, false},
		{of(-1, -1, -1), 0, false},
	} {
		got, ok := slope(tt.in, func(s sample) float64 { return s.Backlog })
		if ok != tt.ok || got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("slope(%v) = %v, %v; want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	all := parseMetrics([]byte("# TYPE a counter\na 1.5\nb{x=\"1\"} 2\nb{x=\"2\",y=\"}\"} 3 1700000000\n\nc{ 1\nd\ne x\n"))
	for name, want := range map[string]float64{"a": 1.5, "b": 5, "b{1}": 2, "b{2}": 3, "c": 0, "d": 0, "e": 0} {
		if all[name] != want {
			t.Errorf("%s = %v; want %v", name, all[name], want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 7: "7", 7.25: "7.2", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -1234: "-1,234", -999: "-999"} {
		if got := count(v); got != want {
			t.Errorf("count(%v) = %q; want %q", v, got, want)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	o := Defaults()
	o.Events = 100
	c := testClient(o)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.build(now)
		c.book.log = c.book.log[:0]
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}

func BenchmarkSettle(b *testing.B) {
	o := Defaults()
	o.Events = 100
	c := testClient(o)
	c.build(time.Now())
	c.body = []byte(`{"accepted":100,"rejected":0,"receipts":{"first":"a","last":"b"},"errors":[]}`)
	b.ReportAllocs()
	for b.Loop() {
		c.settle(202)
	}
}
