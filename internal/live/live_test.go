package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/live"
	"github.com/the-eye/eye/internal/problem"
	"github.com/the-eye/eye/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store that holds events in order of position.
type shelf struct {
	store.Reader
	mu     sync.Mutex
	events []event.Event
	asked  int // calls of Since
	most   int // events asked for at once
	fails  error
}

func (s *shelf) Since(_ context.Context, after event.Position, f store.Filter, limit int) ([]store.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.most = max(s.most, limit)
	var rows []store.Row
	for i := range s.events {
		if e := &s.events[i]; e.Position > after && f.Matches(e) && len(rows) < limit {
			rows = append(rows, store.Row{Event: *e})
		}
	}
	return rows, s.fails
}

// service is a hub, its handler and the store behind them.
type service struct {
	t        testing.TB
	hub      *live.Hub
	shelf    *shelf
	receipts *event.Receipts
	handler  *live.Handler
	filter   store.Filter
	done     chan struct{}
	next     uint64 // block
}

func newService(t testing.TB) *service {
	receipts, err := event.NewReceipts([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, hub: live.NewHub(), shelf: &shelf{}, receipts: receipts, done: make(chan struct{}), next: 1}
	s.handler = live.NewHandler(live.Options{
		Hub: s.hub, Receipts: receipts, Done: s.done,
		Reader: func() (store.Reader, error) { return s.shelf, nil },
		Filter: func(*http.Request) (store.Filter, error) { return s.filter, nil },
		Encode: func(b []byte, row *store.Row) []byte { return append(append(b, row.ID...), row.Data...) },
	})
	return s
}

// store stores a block of n events, as the processor does, and returns their ids.
func (s *service) store(n int, data string) []string {
	var ids []string
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{Application: "a", ID: fmt.Sprintf("e%d.%d", s.next, i), Category: "c", Name: "n",
			Data: []byte(data), Position: event.At(s.next, i)}
		ids = append(ids, events[i].ID)
	}
	s.next++
	s.shelf.mu.Lock()
	for i := range events {
		e := events[i]
		e.Data = bytes.Clone(e.Data)
		s.shelf.events = append(s.shelf.events, e)
	}
	s.shelf.mu.Unlock()
	s.hub.Publish(events)
	for i := range events { // Publish must keep copies: this memory is the block's
		clear(events[i].Data)
	}
	return ids
}

// reader is a ResponseWriter that a test can look into, and hold up.
type reader struct {
	mu     sync.Mutex
	header http.Header
	status int
	text   bytes.Buffer
	gate   chan struct{} // nil, or writes wait until it is closed
	after  int           // writes that do not wait
	dead   bool          // writes fail
}

func (r *reader) Header() http.Header              { return r.header }
func (r *reader) WriteHeader(status int)           { r.status = status }
func (r *reader) Flush()                           {}
func (r *reader) SetWriteDeadline(time.Time) error { return nil }

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	gate := r.gate
	if r.after > 0 {
		r.after--
		gate = nil
	}
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return 0, errors.New("gone")
	}
	return r.text.Write(b)
}

// shown are the ids of the events that the reader was shown, and the last
// event's own id, from which it would resume.
func (r *reader) shown() (ids []string, last string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			last = id
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			id, _, _ := strings.Cut(data, "{")
			ids = append(ids, id)
		}
	}
	return ids, last
}

// read starts a reader; stop ends it and waits.
func (s *service) read(lastID string, r *reader) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	request := httptest.NewRequestWithContext(ctx, "GET", "/v1/live", nil)
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	r.header = http.Header{}
	var running sync.WaitGroup
	running.Go(func() { s.handler.ServeHTTP(r, request) })
	return func() {
		cancel()
		running.Wait()
	}
}

// wantShown fails the test unless the reader was shown just these events.
func wantShown(t *testing.T, r *reader, want []string) {
	t.Helper()
	got, _ := r.shown()
	if len(got) != len(want) {
		t.Fatalf("shown are %d events; want %d\ngot  %.300v\nwant %.300v", len(got), len(want), got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("event %d shown is %s; want %s", i, got[i], want[i])
		}
	}
}

func TestEventsAreShownAsTheyAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.store(3, "{}") // before anybody reads
		var r reader
		stop := s.read("", &r)
		defer stop()
		synctest.Wait()
		wantShown(t, &r, nil)
		want := s.store(2, "{}")
		synctest.Wait()
		wantShown(t, &r, want)
		want = append(want, s.store(1, "{\n\"a\":\r1}")...)
		synctest.Wait()
		wantShown(t, &r, want)
		if got := r.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type = %s; want text/event-stream", got)
		}
		if !strings.Contains(r.text.String(), "data: e3.0{ \"a\": 1}\n\n") {
			t.Errorf("a payload with line ends is shown as %q", r.text.String())
		}
	})
}

func TestResumeShowsWhatWasMissed(t *testing.T) {
	for _, missed := range []int{1, 7, 15, 16, 17, 500, 2000} {
		t.Run(fmt.Sprint(missed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				var first reader
				stop := s.read("", &first)
				synctest.Wait()
				s.store(1, "{}")
				synctest.Wait()
				stop()
				_, last := first.shown()
				var want []string
				for left := missed; left > 0; left -= 100 {
					want = append(want, s.store(min(left, 100), "{}")...)
				}
				var second reader
				stop = s.read(last, &second)
				defer stop()
				synctest.Wait()
				wantShown(t, &second, want)
				want = append(want, s.store(3, "{}")...)
				synctest.Wait()
				wantShown(t, &second, want)
			})
		})
	}
}

// A reader that is slower than the ring is long goes on from the store.
func TestTheRingGoesAround(t *testing.T) {
	for _, c := range []struct {
		name          string
		blocks, block int
		data          string
	}{
		{"many small events", 45, 400, "{}"},
		{"a block longer than the ring", 2, 9000, "{}"},
		{"few large events", 45, 1, `{"x":"` + strings.Repeat("x", 1<<20) + `"}`},
		{"a block larger than the ring", 1, 40, `{"x":"` + strings.Repeat("x", 1<<20) + `"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				slow, quick := &reader{gate: make(chan struct{}), after: 2}, &reader{}
				stopSlow, stopQuick := s.read("", slow), s.read("", quick)
				defer stopSlow()
				defer stopQuick()
				synctest.Wait()
				var want []string
				for range c.blocks {
					want = append(want, s.store(c.block, c.data)...)
					synctest.Wait()
				}
				wantShown(t, quick, want) // whatever the other one does
				if got, _ := slow.shown(); len(got) == len(want) && c.blocks > 1 {
					t.Fatal("the slow reader is not slow")
				}
				close(slow.gate)
				synctest.Wait()
				wantShown(t, slow, want)
				want = append(want, s.store(1, "{}")...)
				synctest.Wait()
				wantShown(t, slow, want)
				if n := s.shelf.most; len(c.data) > 1<<20 && n > 16 {
					t.Errorf("%d events of a megabyte were read from the store at once; want at most 16", n)
				}
			})
		})
	}
}

func TestFiltersAndWhatTheySkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.filter = store.Filter{Data: []store.PathEquals{{Path: []string{"x"}, Value: "1"}}}
		var r reader
		stop := s.read(s.receipts.Of(event.At(1, 0)-1), &r)
		defer stop()
		synctest.Wait()
		s.store(2, `{"x":2}`)
		want := s.store(2, `{"x":1}`)
		s.store(2, `{"y":1}`)
		want = append(want, s.store(1, `{"x":"1"}`)...)
		synctest.Wait()
		wantShown(t, &r, want)
		// A reader for whom nothing is selected does not ask the store for ever.
		asked := s.shelf.asked
		for range 20 {
			s.store(1, `{"y":1}`)
			synctest.Wait()
		}
		if s.shelf.asked > asked {
			t.Errorf("the store was asked %d times for what the ring holds", s.shelf.asked-asked)
		}
	})
}

// The store opens after a reader came, with events that nobody has published.
func TestStartServesWaitingReadersFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var want []string
		for i := range 5 {
			e := event.Event{ID: fmt.Sprintf("e%d", i), Data: []byte("{}"), Position: event.At(uint64(i+1), 0)}
			s.shelf.events = append(s.shelf.events, e)
			want = append(want, e.ID)
		}
		var r reader
		stop := s.read(s.receipts.Of(event.At(1, 0)), &r)
		defer stop()
		synctest.Wait()
		s.hub.Start(event.At(6, 0) - 1)
		synctest.Wait()
		wantShown(t, &r, want[1:])
		s.hub.Start(event.At(3, 0)) // of a store that was opened again: nothing new
		synctest.Wait()
		wantShown(t, &r, want[1:])
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var r reader
		stop := s.read("", &r)
		defer stop()
		time.Sleep(61 * time.Second) // of the bubble's clock
		synctest.Wait()
		if n := strings.Count(r.text.String(), ": still here\n\n"); n != 4 {
			t.Errorf("in 61 s there were %d heartbeats; want 4", n)
		}
	})
}

func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var gone, drained reader
		for _, r := range []*reader{&gone, &drained} {
			defer s.read("", r)()
		}
		synctest.Wait()
		gone.mu.Lock()
		gone.dead = true
		gone.mu.Unlock()
		s.store(1, "{}")
		synctest.Wait()

		s.store(1, "{}")
		synctest.Wait()
		close(s.done)
		synctest.Wait() // whoever still ran would wait for its heartbeat
		if got, _ := drained.shown(); len(got) != 2 {
			t.Errorf("before the drain %d events were shown; want 2", len(got))
		}
	})
}

func TestAStoreThatFailsEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.store(2, "{}") // while nobody reads, so that only the store has them
		s.shelf.fails = errors.New("the store is ill")
		var r reader
		stop := s.read(s.receipts.Of(event.At(1, 0)), &r)
		defer stop()
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		if text := r.text.String(); strings.Contains(text, "data:") || strings.Contains(text, "still here") {
			t.Errorf("from a store that fails came %q; want the end", text)
		}
	})
}

func TestRefusals(t *testing.T) {
	s := newService(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/v1/live", nil)
	r.Header.Set("Last-Event-ID", "not a receipt")
	s.handler.ServeHTTP(w, r)
	if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("with a wrong Last-Event-ID the answer is %d %s; want 400 problem+json", w.Code, w.Header().Get("Content-Type"))
	}
	no := live.NewHandler(live.Options{Hub: s.hub, Filter: func(*http.Request) (store.Filter, error) {
		return store.Filter{}, &problem.Problem{Status: 418, Title: "No"}
	}})
	w = httptest.NewRecorder()
	if no.ServeHTTP(w, httptest.NewRequest("GET", "/v1/live", nil)); w.Code != 418 {
		t.Errorf("a filter that refuses is answered %d; want its own 418", w.Code)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			s := newService(b)
			for range readers {
				b.Cleanup(s.read("", &reader{dead: false}))
			}
			events := make([]event.Event, 100)
			block := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				for i := range events {
					events[i] = event.Event{Application: "a", ID: "id", Data: []byte(`{"host":"www.example.com"}`), Position: event.At(block, i)}
				}
				block++
				s.hub.Publish(events)
			}
			b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
		})
	}
}
