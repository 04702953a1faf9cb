package eyetest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/config"
	"github.com/the-eye/eye/internal/eyetest"
)

// heap is the bytes that live in the heap once all garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools held over the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// peak measures how far the heap grows while f runs. The collector works as it
// does in production, so that garbage counts up to a point.
func peak(f func()) int64 {
	before := heap()
	stop := make(chan struct{})
	var most atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(sample)
			most.Store(max(most.Load(), int64(sample[0].Value.Uint64())))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	f()
	close(stop)
	watch.Wait()
	return most.Load() - before
}

// works fails the test unless the service still takes an event and gives it back.
func works(t *testing.T, s *eyetest.Service, key string) {
	t.Helper()
	id := fmt.Sprintf("works-%d", time.Now().UnixNano())
	s.PostWait(t, key, pageView(id, "works", 1)).Want(t, 200)
	var e eyetest.Event
	if s.Get(t, key, "/v1/events/web-shop/"+id).Want(t, 200).JSON(t, &e); e.ID != id {
		t.Errorf("read back event %q; want %q", e.ID, id)
	}
}

const requestBytes = 16 << 20

// with is a good event but for its data.
func with(data string) string {
	return `{"session_id":"s","category":"c","name":"n","data":` + data + `,"timestamp":"2021-01-01T00:00:00Z"}`
}

// fill is text that begins with start, ends with end and repeats unit between,
// just as long as a request may be.
func fill(start, unit, end string) string {
	n := (requestBytes - len(start) - len(end)) / len(unit)
	return start + strings.Repeat(unit, n) + end
}

// manyKeys is a payload of n different keys.
func manyKeys(n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%x":0`, i)
	}
	b.WriteByte('}')
	return b.String()
}

func TestHostileBodies(t *testing.T) {
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	works(t, s, key)
	spaces := bytes.Repeat([]byte(" "), 64<<20)
	emptyGzip, emptyZstd := string(compress(t, "gzip", nil)), string(compress(t, "zstd", []byte(" ")))
	farWindow, err := base64.StdEncoding.DecodeString("KLUv/QD4AQAAIA==") // a frame with a window of terabytes
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("k", 900<<10)
	for _, c := range []struct {
		name    string
		body    string
		status  int
		headers []string
	}{
		{"a gzip bomb", string(compress(t, "gzip", spaces)), 413, []string{"Content-Encoding", "gzip"}},
		{"a zstd bomb", string(compress(t, "zstd", spaces)), 413, []string{"Content-Encoding", "zstd"}},
		{"a zstd window of terabytes", string(farWindow), 400, []string{"Content-Encoding", "zstd"}},
		{"a million empty gzip members", fill("", emptyGzip, ""), 400, []string{"Content-Encoding", "gzip"}},
		{"a million tiny zstd frames", fill("", emptyZstd, ""), 400, []string{"Content-Encoding", "zstd"}},
		{"gzip of nothing", emptyGzip, 400, []string{"Content-Encoding", "gzip"}},
		{"16 MiB of opening brackets", fill("", "[", ""), 400, nil},
		{"16 MiB of opening objects", fill("", `{"a":`, ""), 400, nil},
		{"depth in data", with(strings.Repeat(`{"a":`, 150_000) + "1" + strings.Repeat("}", 150_000)), 422, nil},
		{"depth that closes", fill(`{"data":`, "[", ""), 400, nil},
		{"a string of 10 MB", with(`{"a":"` + strings.Repeat("x", 10<<20) + `"}`), 413, nil},
		{"a key of 10 MB", with(`{"` + strings.Repeat("x", 10<<20) + `":1}`), 413, nil},
		{"a field of 10 MB", `{"` + strings.Repeat("x", 10<<20) + `":1}`, 413, nil},
		{"an endless string", fill(`{"data":"`, "x", ""), 400, nil},
		{"an endless number", fill(`{"data":`, "9", ""), 400, nil},
		{"a number of a megabyte", with(`{"a":` + strings.Repeat("9", 1_000_000) + `}`), 422, nil},
		{"an exponent of a megabyte", with(`{"a":1e` + strings.Repeat("9", 1_000_000) + `}`), 422, nil},
		{"16 MiB of zero bytes", fill("", "\x00", ""), 400, nil},
		{"16 MiB of spaces", fill("", " ", ""), 400, nil},
		{"16 MiB of commas", fill("[", ",", ""), 400, nil},
		{"16 MiB of empty lines", fill("", "\n", ""), 400, []string{"Content-Type", "application/x-ndjson"}},
		{"invalid UTF-8 of a megabyte", with(`{"a":"` + strings.Repeat("\xff", 1_000_000) + `"}`), 422, nil},
		{"too many events", "[" + strings.Repeat("{},", 10_000) + "{}]", 413, nil},
		{"too many lines", strings.Repeat("{}\n", 10_001), 413, []string{"Content-Type", "application/x-ndjson"}},
		{"10,000 refused events", "[" + strings.Repeat("{},", 9_999) + "{}]", 422, nil},
		{"10,000 events of 100 violations", "[" + strings.Repeat(`{"data":[`+strings.Repeat(`"\ud800",`, 100)+"0]},", 9_999) + "{}]", 413, nil},
		{"10,000 scalars", "[" + strings.Repeat("0,", 9_999) + "0]", 422, nil},
		{"over 16 MiB", strings.Repeat(" ", requestBytes+1), 413, nil},
		{"many keys", with(manyKeys(90_000)), 202, nil},
		{"far too many keys", with(manyKeys(1_500_000)), 413, nil},
		{"one key 50,000 times", with("{" + strings.Repeat(`"a":1,`, 50_000) + `"a":1}`), 422, nil},
		{"a long key above many flaws", with(`{"` + long + `":[` + strings.Repeat(`"\ud800",`, 500) + `0]}`), 422, nil},
		{"many long fields", "{" + `"` + long + `a":1,"` + long[:100<<10] + `b":1}`, 422, nil},
		{"another media type", "<event/>", 415, []string{"Content-Type", "text/xml"}},
		{"no media type", "{}", 415, []string{"Content-Type", ""}},
		{"a media type of 10 kB", "{}", 415, []string{"Content-Type", "application/" + strings.Repeat("x", 10_000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a *eyetest.Answer
			grown := peak(func() { a = s.Do(t, "POST", "/v1/events", key, []byte(c.body), c.headers...) })
			if c.status < 300 {
				a.Want(t, c.status)
			} else if a.Status != c.status {
				t.Errorf("answer %d; want %d\n%.500s", a.Status, c.status, a.Body)
			} else {
				hostileProblem(t, a)
			}
			// The test's own request and the body in all its stages lie in this heap.
			most := int64(160 << 20)
			if strings.HasSuffix(c.name, "100 violations") {
				most *= 2 // until the records of the request are more than the journal takes
			}
			if grown > most {
				t.Errorf("the heap grew by %d MiB on a body of %d kB; want at most %d MiB", grown>>20, len(c.body)>>10, most>>20)
			}
			t.Logf("answer %d of %d bytes, heap +%d MiB", a.Status, len(a.Body), grown>>20)
		})
	}
	works(t, s, key)
	if got := s.Metric(t, "eye_ingest_in_flight_bytes"); got != 0 {
		t.Errorf("requests still hold %v bytes", got)
	}
	// Everything refused has been processed too, and nobody holds on to it.
	eyetest.Eventually(t, "the heap is small again", func() bool { return heap() < 96<<20 })
}

// hostileProblem is anyProblem for answers that may quote what was sent.
func hostileProblem(t *testing.T, a *eyetest.Answer) {
	t.Helper()
	if len(a.Body) > 8<<20 {
		t.Errorf("the answer has %d bytes", len(a.Body))
		return
	}
	if len(a.Body) > 1<<20 { // an entry for every event of a large batch
		if a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("Content-Type = %s", a.Header.Get("Content-Type"))
		}
		return
	}
	anyProblem(t, a)
}

func TestMoreInFlightThanThereIsRoomFor(t *testing.T) {
	s := eyetest.Start(t, func(c *config.Config) {
		c.Ingest.InFlightBytes, c.Ingest.RequestBytes, c.Ingest.EventBytes = 24<<20, 8<<20, 1<<20
	})
	key := s.NewApplication(t, "web-shop", all...)
	event := with(`{"a":"` + strings.Repeat("x", 900<<10) + `"}`)
	body := batch(event, event, event, event, event, event, event) // 6.3 MB
	var statuses [600]atomic.Int64
	const clients = 40
	grown := peak(func() {
		var senders sync.WaitGroup
		for range clients {
			senders.Go(func() {
				a, err := s.Try(t, "POST", "/v1/events", key, []byte(body))
				if err != nil {
					t.Errorf("no answer: %v", err)
					return
				}
				statuses[a.Status].Add(1)
				if a.Status != 202 {
					anyProblem(t, a)
				}
			})
		}
		senders.Wait()
	})
	if n := statuses[202].Load() + statuses[503].Load(); n != clients || statuses[202].Load() == 0 {
		t.Errorf("%d were accepted, %d busy, of %d; want some accepted and the rest busy", statuses[202].Load(), statuses[503].Load(), clients)
	}
	t.Logf("%d accepted, %d busy, heap +%d MiB with %d MiB of it the clients'", statuses[202].Load(), statuses[503].Load(), grown>>20, clients*len(body)>>20)
	// The clients' own copies of the body do not count against the service.
	if most := int64(clients*len(body) + 400<<20); grown > most {
		t.Errorf("the heap grew by %d MiB; want at most %d", grown>>20, most>>20)
	}
	if got := s.Metric(t, "eye_ingest_in_flight_bytes"); got != 0 {
		t.Errorf("requests still hold %v bytes", got)
	}
	works(t, s, key)
	// What was accepted is all there.
	eyetest.Eventually(t, "all is stored", func() bool {
		return s.Metric(t, "eye_process_records_total", `disposition="stored"`) == float64(7*statuses[202].Load()+1)
	})
}

// A body of the largest size that compression did not shrink still fits into
// the smallest bound that the settings allow.
func TestTheLargestRequestFitsTheSmallestBound(t *testing.T) {
	s := eyetest.Start(t, func(c *config.Config) {
		c.Ingest.RequestBytes, c.Ingest.EventBytes = 8<<20, 8<<20
		for c.Ingest.InFlightBytes = 0; c.Check() != nil; c.Ingest.InFlightBytes += 1 << 20 {
		}
	})
	key := s.NewApplication(t, "web-shop", all...)
	random := make([]byte, 6<<20-1024)
	state := uint32(1)
	for i := range random {
		state = state*1664525 + 1013904223
		random[i] = byte(state >> 24)
	}
	body := with(`{"a":"` + base64.StdEncoding.EncodeToString(random) + `"}`)
	coded := compress(t, "zstd", []byte(body))
	s.Do(t, "POST", "/v1/events", key, []byte(body)).Want(t, 202)
	s.Do(t, "POST", "/v1/events", key, coded, "Content-Encoding", "zstd").Want(t, 202)
	t.Logf("body %d, coded %d, of %d", len(body), len(coded), 8<<20)
}

func TestHTTP2PriorKnowledge(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t, func(c *config.Config) { c.ReadTimeout = time.Second })
	key := s.NewApplication(t, "web-shop", all...)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	post := func(body io.Reader) (*eyetest.Answer, error) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/events", body)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		w, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer w.Body.Close()
		if w.ProtoMajor != 2 {
			t.Errorf("the protocol is %s; want HTTP/2", w.Proto)
		}
		text, err := io.ReadAll(w.Body)
		return &eyetest.Answer{Status: w.StatusCode, Header: w.Header, Body: text}, err
	}
	var senders sync.WaitGroup
	for i := range 100 { // on one connection
		senders.Go(func() {
			if a, err := post(strings.NewReader(pageView(fmt.Sprintf("h2-%d", i), "h2", i))); err != nil || a.Status != 202 {
				t.Errorf("over HTTP/2: %v, %v; want 202", a, err)
			}
		})
	}
	senders.Wait()
	// A body that never ends must not hold its stream for ever.
	body, hand := io.Pipe()
	defer hand.Close()
	go hand.Write([]byte(`{"session_id":`))
	a, err := post(body)
	if err != nil {
		t.Fatalf("an endless body over HTTP/2: %v; want 408", err)
	}
	problemOf(t, a, 408)
	// Nor may a large one that is refused break the others on the connection.
	if a, err := post(strings.NewReader(strings.Repeat(" ", requestBytes+1))); err == nil {
		problemOf(t, a, 413)
	}
	if a, err := post(strings.NewReader(pageView("h2-last", "h2", 200))); err != nil || a.Status != 202 {
		t.Errorf("after that: %v, %v; want 202", a, err)
	}
}
