package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that only a broken program needs.
const patience = 30 * time.Second

// serverAt starts an embedded server in dir. The returned function stops it; it
// is also stopped at the end of the test.
func serverAt(tb testing.TB, dir string) (*journal.Server, func()) {
	tb.Helper()
	s, err := journal.StartServer(tb.Context(), journal.ServerOptions{Dir: dir, MaxStoreBytes: 4 << 30, Log: logger(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	stop := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			tb.Error(err)
		}
	}
	tb.Cleanup(stop)
	return s, stop
}

// open opens a journal, without running it.
func open(tb testing.TB, s *journal.Server, o journal.Options) *journal.Journal {
	tb.Helper()
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Log == nil {
		o.Log = logger(tb)
	}
	j, err := journal.Open(tb.Context(), s, o)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// run runs the journal until the returned function or the end of the test.
func run(tb testing.TB, j *journal.Journal) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			tb.Error("Run does not end")
		}
	})
	tb.Cleanup(stop)
	return stop
}

// start is a running journal on a new server.
func start(tb testing.TB, o journal.Options) *journal.Journal {
	tb.Helper()
	s, _ := serverAt(tb, tb.TempDir())
	j := open(tb, s, o)
	run(tb, j)
	return j
}

func logger(tb testing.TB) *slog.Logger {
	var w io.Writer = tb.Output()
	if _, ok := tb.(*testing.B); ok {
		w = io.Discard
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func mustAppend(tb testing.TB, j *journal.Journal, records string, count int) event.Position {
	tb.Helper()
	p, err := j.Append(tb.Context(), []byte(records), count)
	if err != nil {
		tb.Fatalf("Append(%d bytes, %d) = %v", len(records), count, err)
	}
	return p
}

// next is the next block; the test fails after patience.
func next(tb testing.TB, r *journal.Reader) (journal.Block, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	b, err := r.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		tb.Fatal("no block in time")
	}
	return b, err
}

// readAll reads what is in the journal and returns its batches by position.
func readAll(tb testing.TB, j *journal.Journal, after uint64) map[event.Position]string {
	tb.Helper()
	r, err := j.Read(tb.Context(), after)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	got := map[event.Position]string{}
	for r.Buffered() > 0 {
		b, err := next(tb, r)
		if err != nil {
			tb.Fatal(err)
		}
		index := 0
		for _, batch := range b.Batches {
			got[event.At(b.Sequence, index)] = string(batch.Records)
			index += batch.Count
		}
		if index != b.Records {
			tb.Errorf("block %d: %d records in its batches; want %d", b.Sequence, index, b.Records)
		}
	}
	return got
}

// eventually waits until f holds.
func eventually(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not in time: %s", what)
		}
	}
}

// records are n bytes that compress about as events do.
func records(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":"%016x","session_id":"%08x-9137-4e4e-80b5","category":"page interaction","name":"cta click","data":{"host":"www.example.com","path":"/p/%d"}}`,
			uint64(i+1)*0x9E3779B97F4A7C15, uint32(i+7)*0x85EBCA6B, i%100)
	}
	return b.Bytes()[:n]
}

// metric is the value of a counter or gauge, summed over its labels.
func metric(tb testing.TB, r prometheus.Gatherer, name string) float64 {
	tb.Helper()
	families, err := r.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	tb.Fatalf("no metric %s", name)
	return 0
}
