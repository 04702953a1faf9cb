package duckdb_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
)

// The benchmarks read from a store with EYE_STORE_EVENTS events (200,000 when
// unset). It is made once and kept in EYE_STORE_DIR, when that is set, so that
// the next run finds it. The table in docs/adr/0002-store-layout.md comes from
//
//	EYE_STORE_EVENTS=20000000 EYE_STORE_DIR=/var/tmp/eye-bench \
//	  go test ./internal/store/duckdb -run '^$' -bench . -benchtime 2s -timeout 2h -v
//
// EYE_STORE_ROWGROUP and EYE_STORE_DATA (zstd or auto) choose another layout.
const (
	benchBatch = 10_000
	benchBlock = 100 // events of one request
)

func fromEnv(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

func benchOptions() duckdb.Options {
	if compression := os.Getenv("EYE_STORE_DATA"); compression != "" {
		duckdb.LayoutOfData(compression)
	}
	return duckdb.Options{
		RowGroupSize: fromEnv("EYE_STORE_ROWGROUP", 0), Threads: fromEnv("EYE_STORE_THREADS", 0),
		SegmentEvents: fromEnv("EYE_STORE_SEGMENT", 0), WALBytes: int64(fromEnv("EYE_STORE_WAL", 0)),
		Log: slog.New(slog.DiscardHandler),
	}
}

// traffic makes events as 50,000 sessions at a time would send them: 1,000 a
// second, about 12 a session, 450 bytes each as JSON, one in a hundred late by
// up to a day.
type traffic struct {
	random   *rand.Rand
	now      event.Micros
	n        int
	block    uint64
	sessions []string
}

func newTraffic(seed uint64) *traffic {
	return &traffic{random: rand.New(rand.NewPCG(seed, seed)), now: 1_793_534_400_000_000, sessions: make([]string, 50_000)}
}

func (f *traffic) uuid() string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		v := f.random.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

var (
	benchApplications = []string{"web-shop", "mobile-app", "till"}
	benchCategories   = []string{"page interaction", "navigation", "payment", "search", "support"}
	benchNames        = []string{"cta click", "page view", "form submit", "scroll"}
	benchElements     = []string{"chat bubble", "buy button", "newsletter form", "main menu", "product picture", "review list"}
	benchPaths        = []string{"/", "/products/", "/cart", "/checkout", "/account/orders", "/help", "/search"}
)

func pick[V any](random *rand.Rand, of []V) V { return of[random.IntN(len(of))] }

func (f *traffic) batch(n int) *store.Batch {
	b := &store.Batch{Events: make([]event.Event, n)}
	r := f.random
	for i := range b.Events {
		if i%benchBlock == 0 {
			f.block++
		}
		f.now += 1000
		at := r.IntN(len(f.sessions))
		if f.sessions[at] == "" || r.IntN(12) == 0 {
			f.sessions[at] = f.uuid()
		}
		e := &b.Events[i]
		*e = event.Event{
			Application: benchApplications[at%len(benchApplications)], ID: f.uuid(), SessionID: f.sessions[at],
			Category: pick(r, benchCategories), Name: pick(r, benchNames),
			Timestamp: f.now - event.Micros(r.IntN(2_000_000)), Sequence: event.NoSequence, ReceivedAt: f.now,
			Position: event.At(f.block, i%benchBlock),
		}
		if r.IntN(100) == 0 {
			e.Timestamp -= event.Micros(r.Int64N(int64(24 * time.Hour / time.Microsecond)))
		}
		e.Data = f.payload()
	}
	f.n += n
	b.Block = f.block
	b.Counts = []store.Count{{Minute: f.now - f.now%60_000_000, Application: "web-shop", Received: int64(n), Stored: int64(n)}}
	return b
}

// payload is about 330 bytes of JSON, of which half differ from event to event.
func (f *traffic) payload() []byte {
	r := f.random
	b := make([]byte, 0, 400)
	number := func(before string, n int) {
		b = strconv.AppendInt(append(b, before...), int64(n), 10)
	}
	b = append(append(b, `{"host":"www.example.com","path":"`...), pick(r, benchPaths)...)
	number("", r.IntN(5000))
	b = append(append(b, `","element":"`...), pick(r, benchElements)...)
	number(`","position":{"x":`, r.IntN(1920))
	number(`,"y":`, r.IntN(4000))
	number(`},"viewport":{"width":`, 320*(1+r.IntN(6)))
	number(`,"height":1080},"referrer":"https://www.google.com/search?q=`, int(r.Uint32()))
	number(`","campaign":"autumn-`, r.IntN(12))
	number(`","experiment":{"id":"exp-`, r.IntN(40))
	b = append(b, `","variant":"`...)
	b = append(b, "abc"[r.IntN(3)])
	number(`"},"duration_ms":`, r.IntN(10_000))
	number(".", 100+r.IntN(900))
	b = append(b, `,"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","logged_in":`...)
	return append(strconv.AppendBool(b, r.IntN(2) == 0), '}')
}

// prepared is the store that the reading benchmarks share.
var prepared struct {
	once sync.Once
	*duckdb.Store
	sessions []string // with some events
	err      error
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func prepare(b *testing.B) *duckdb.Store {
	b.Helper()
	prepared.once.Do(func() {
		n := fromEnv("EYE_STORE_EVENTS", 200_000)
		dir := os.Getenv("EYE_STORE_DIR")
		if dir == "" {
			if dir, prepared.err = os.MkdirTemp("", "eye-bench-*"); prepared.err != nil {
				return
			}
			removeAtEnd = dir
		}
		options := benchOptions()
		options.Path = filepath.Join(dir, "store.duckdb")
		start := time.Now()
		prepared.Store, prepared.err = duckdb.Open(context.Background(), options)
		if prepared.err != nil {
			return
		}
		fmt.Printf("opened in %v\n", time.Since(start))
		size, _ := prepared.Size(context.Background())
		f := newTraffic(1)
		for i := 0; f.n < n; i++ {
			batch := f.batch(benchBatch)
			if i%20 == 0 {
				prepared.sessions = append(prepared.sessions, batch.Events[i%benchBatch].SessionID)
			}
			if int64(f.n) <= size.Events {
				continue
			}
			if prepared.err = prepared.Append(context.Background(), batch); prepared.err != nil {
				return
			}
		}
		if size.Events < int64(n) {
			cpu := cpuSeconds()
			prepared.err = prepared.Close()
			size, _ := os.Stat(options.Path)
			fmt.Printf("prepared %d events in %v, generator included, %.1f s of CPU; closed in %.1f s of CPU; %.1f bytes an event\n",
				f.n, time.Since(start), cpu, cpuSeconds()-cpu, float64(size.Size())/float64(f.n))
			if prepared.err == nil {
				start = time.Now()
				prepared.Store, prepared.err = duckdb.Open(context.Background(), options)
				fmt.Printf("opened again in %v\n", time.Since(start))
			}
		}
	})
	if prepared.err != nil {
		b.Fatal(prepared.err)
	}
	return prepared.Store
}

var removeAtEnd string

func TestMain(m *testing.M) {
	code := m.Run()
	if prepared.Store != nil {
		if err := prepared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = cmp.Or(code, 1)
		}
	}
	if removeAtEnd != "" {
		if err := os.RemoveAll(removeAtEnd); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// BenchmarkAppend stores batches of 10,000 events, segments and checkpoints
// included. cpu-µs/event is what one core has to give.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), benchOptions())
	f := newTraffic(2)
	b.ReportAllocs()
	var took time.Duration
	var cpu float64
	var slowest time.Duration
	for b.Loop() {
		b.StopTimer()
		batch := f.batch(benchBatch)
		before, start := cpuSeconds(), time.Now()
		b.StartTimer()
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		d := time.Since(start)
		took += d
		slowest = max(slowest, d)
		cpu += cpuSeconds() - before
	}
	before, start := cpuSeconds(), time.Now()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	took += time.Since(start)
	cpu += cpuSeconds() - before
	b.ReportMetric(float64(f.n)/took.Seconds(), "events/s")
	b.ReportMetric(cpu*1e6/float64(f.n), "cpu-µs/event")
	b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
	b.ReportMetric(0, "ns/op")
}

// percentiles runs do again and again, and reports how long it takes.
func percentiles(b *testing.B, do func(i int) error) {
	b.ReportAllocs()
	var took []time.Duration
	cpu := cpuSeconds()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := do(i); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric((cpuSeconds()-cpu)*1000/float64(len(took)), "cpu-ms/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

// BenchmarkSessionEvents reads whole sessions from all ages of the store.
func BenchmarkSessionEvents(b *testing.B) {
	s := prepare(b)
	events := 0
	percentiles(b, func(i int) error {
		rows, err := s.Events(b.Context(), store.EventQuery{
			Filter: store.Filter{SessionID: prepared.sessions[(i*7919)%len(prepared.sessions)]}, Limit: 100})
		events += len(rows)
		return err
	})
}

// BenchmarkNewestOfCategory reads the newest hundred of a category, with their
// places.
func BenchmarkNewestOfCategory(b *testing.B) {
	s := prepare(b)
	percentiles(b, func(i int) error {
		rows, err := s.Events(b.Context(), store.EventQuery{
			Filter: store.Filter{Category: pick(newTraffic(uint64(i)).random, benchCategories)}, Descending: true, Limit: 100})
		if err == nil && len(rows) != 100 {
			err = fmt.Errorf("%d rows; want 100", len(rows))
		}
		return err
	})
}

// BenchmarkNewestSessions reads the first page of sessions.
func BenchmarkNewestSessions(b *testing.B) {
	s := prepare(b)
	percentiles(b, func(int) error {
		_, err := s.Sessions(b.Context(), store.SessionQuery{Limit: 100})
		return err
	})
}

// BenchmarkOneEvent reads an event by its key.
func BenchmarkOneEvent(b *testing.B) {
	s := prepare(b)
	rows, err := s.Events(b.Context(), store.EventQuery{Filter: store.Filter{SessionID: prepared.sessions[len(prepared.sessions)/3]}, Limit: 1})
	if err != nil || len(rows) == 0 {
		b.Fatal(rows, err)
	}
	percentiles(b, func(int) error {
		_, err := s.Event(b.Context(), rows[0].Key())
		return err
	})
}

// BenchmarkTrickle sends 1,000 events a second in batches of ten, with small
// segments and logs so that all maintenance happens, and reports how long it
// takes from Append until the last event of the batch has been read.
func BenchmarkTrickle(b *testing.B) {
	o := benchOptions()
	o.SegmentEvents, o.WALBytes = 5000, 2<<20
	s := open(b, b.TempDir(), o)
	f := newTraffic(4)
	var readable []time.Duration
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	percentiles(b, func(int) error {
		batch := f.batch(10)
		<-pace.C
		start := time.Now()
		if err := s.Append(b.Context(), batch); err != nil {
			return err
		}
		_, err := s.Event(b.Context(), batch.Events[9].Key())
		readable = append(readable, time.Since(start))
		return err
	})
	slices.Sort(readable)
	b.ReportMetric(float64(readable[len(readable)*99/100].Microseconds())/1000, "readable-p99-ms")
	b.ReportMetric(float64(readable[len(readable)-1].Microseconds())/1000, "readable-max-ms")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkExisting asks for 10,000 keys that are all new.
func BenchmarkExisting(b *testing.B) {
	s := prepare(b)
	f := newTraffic(3)
	keys := make([]event.Key, benchBatch)
	b.ReportAllocs()
	var took, cpu float64
	calls := 0
	for b.Loop() {
		b.StopTimer()
		for i := range keys {
			keys[i] = event.Key{Application: "web-shop", ID: f.uuid()}
		}
		b.StartTimer()
		before, start := cpuSeconds(), time.Now()
		if _, err := s.Existing(b.Context(), keys); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start).Seconds()
		cpu += cpuSeconds() - before
		calls++
	}
	b.ReportMetric(took*1e9/float64(calls*benchBatch), "ns/key")
	b.ReportMetric(cpu*1e9/float64(calls*benchBatch), "cpu-ns/key")
}

// BenchmarkRetries asks for 1,000 keys of which all are there, from all ages.
func BenchmarkRetries(b *testing.B) {
	s := prepare(b)
	var keys []event.Key
	for _, id := range prepared.sessions {
		rows, err := s.Events(b.Context(), store.EventQuery{Filter: store.Filter{SessionID: id}, Limit: 100})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rows {
			keys = append(keys, r.Key())
		}
		if len(keys) >= 1000 {
			break
		}
	}
	percentiles(b, func(int) error {
		originals, err := s.Existing(b.Context(), keys)
		for _, o := range originals {
			if o.Position == 0 {
				return fmt.Errorf("a key is not known")
			}
		}
		return err
	})
}
