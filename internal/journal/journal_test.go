package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

func TestAppendThenRead(t *testing.T) {
	t.Parallel()
	j := start(t, journal.Options{})
	want := map[event.Position]string{}
	var last event.Position
	for i := range 20 {
		text := fmt.Sprintf("record %d", i)
		p := mustAppend(t, j, text, 1+i)
		if p <= last {
			t.Errorf("Append %d: position %v; want more than %v", i, p, last)
		}
		last = p
		want[p] = text
	}
	got := readAll(t, j, 0)
	if len(got) != len(want) {
		t.Errorf("read %d batches; want %d", len(got), len(want))
	}
	for p, text := range want {
		if got[p] != text {
			t.Errorf("at %v read %q; want %q", p, got[p], text)
		}
	}
	b, err := j.Block(t.Context(), last.Block())
	if err != nil || b.Records != 20 || string(b.Batches[0].Records) != "record 19" {
		t.Errorf("Block(%d) = %d records, %v; want the last one", last.Block(), b.Records, err)
	}
	if age := time.Since(b.Time); age < 0 || age > time.Minute {
		t.Errorf("block is %v old; want a moment", age)
	}
	if _, err := j.Block(t.Context(), last.Block()+1); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Block beyond the end = %v; want ErrNotFound", err)
	}
}

func TestCallersThatWaitTogetherShareABlock(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	const n = 300
	var wg sync.WaitGroup
	positions := make([]event.Position, n)
	for i := range n {
		wg.Go(func() { positions[i] = mustAppend(t, j, fmt.Sprint(i), 1) })
	}
	eventually(t, "all callers wait", func() bool { return j.QueueLen() == n })
	run(t, j)
	wg.Wait()
	seen := map[event.Position]bool{}
	for i, p := range positions {
		if p.Block() != 1 || p.Index() >= n || seen[p] {
			t.Errorf("position %d = block %d index %d; want block 1 and an index of its own below %d", i, p.Block(), p.Index(), n)
		}
		seen[p] = true
	}
	got := readAll(t, j, 0)
	for i, p := range positions {
		if got[p] != fmt.Sprint(i) {
			t.Errorf("at %v read %q; want %d", p, got[p], i)
		}
	}
}

func TestBlocksAreCapped(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{}.WithTimeouts(patience, patience)) // with -race large ones are slow
	var wg sync.WaitGroup
	// Two of these have too many records for one block, three too many bytes.
	for range 4 {
		wg.Go(func() { mustAppend(t, j, "x", event.MaxBlockRecords/2+1) })
	}
	for range 6 {
		wg.Go(func() { mustAppend(t, j, strings.Repeat("y", 3<<19), 1) })
	}
	large := string(random(j.MaxAppendBytes()))
	wg.Go(func() { mustAppend(t, j, large, 1) })
	eventually(t, "all callers wait", func() bool { return j.QueueLen() == 11 })
	run(t, j)
	wg.Wait()
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	batches := 0
	for r.Buffered() > 0 {
		b, err := next(t, r)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, batch := range b.Batches {
			size += len(batch.Records)
		}
		if b.Records > event.MaxBlockRecords || (size > 4<<20 && len(b.Batches) > 1) {
			t.Errorf("block %d has %d records and %d bytes in %d batches", b.Sequence, b.Records, size, len(b.Batches))
		}
		batches += len(b.Batches)
	}
	if batches != 11 {
		t.Errorf("read %d batches; want 11", batches)
	}
}

func TestAppendRefusesWhatCannotFit(t *testing.T) {
	t.Parallel()
	j := start(t, journal.Options{})
	if n := j.MaxAppendBytes(); n < 17<<20 {
		t.Errorf("MaxAppendBytes = %d; want room for a request of 16 MiB", n)
	}
	if _, err := j.Append(t.Context(), make([]byte, j.MaxAppendBytes()+1), 1); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("too many bytes: %v; want ErrTooLarge", err)
	}
	if _, err := j.Append(t.Context(), []byte("x"), event.MaxBlockRecords+1); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("too many records: %v; want ErrTooLarge", err)
	}
	if _, err := j.Append(t.Context(), nil, 1); err == nil {
		t.Error("no bytes: no error")
	}
	if _, err := j.Append(t.Context(), []byte("x"), 0); err == nil {
		t.Error("no records: no error")
	}
}

func TestNothingIsLostOverReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := map[event.Position]string{}
	for round := range 3 {
		s, stop := serverAt(t, dir)
		j := open(t, s, journal.Options{})
		end := run(t, j)
		for i := range 10 {
			text := fmt.Sprintf("round %d record %d", round, i)
			want[mustAppend(t, j, text, 1)] = text
		}
		end()
		got := readAll(t, j, 0)
		for p, text := range want {
			if got[p] != text {
				t.Errorf("round %d: at %v read %q; want %q", round, p, got[p], text)
			}
		}
		if len(got) != len(want) {
			t.Errorf("round %d: read %d batches; want %d", round, len(got), len(want))
		}
		stop()
	}
}

func TestServerStoresABlockOnce(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	data := mustEncode(t, journal.Batch{Records: []byte("a"), Count: 1})
	first, duplicate, err := j.Publish("id-1", data)
	if err != nil || duplicate {
		t.Fatalf("first attempt = duplicate %v, %v; want stored", duplicate, err)
	}
	again, duplicate, err := j.Publish("id-1", data)
	if err != nil || !duplicate || again != first {
		t.Errorf("second attempt = block %d, duplicate %v, %v; want block %d, a duplicate", again, duplicate, err, first)
	}
	if state, err := j.State(t.Context()); err != nil || state.Blocks != 1 {
		t.Errorf("State = %d blocks, %v; want 1", state.Blocks, err)
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := j.Append(ctx, []byte("gone"), 1)
		done <- err
	}()
	var wg sync.WaitGroup
	wg.Go(func() { mustAppend(t, j, "stays", 1) })
	eventually(t, "both wait", func() bool { return j.QueueLen() == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v; want canceled", err)
	}
	if n := j.QueueLen(); n != 1 {
		t.Errorf("%d wait; want 1", n)
	}
	run(t, j)
	wg.Wait()
	if _, err := j.Append(ctx, []byte("gone"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v; want canceled", err)
	}
	got := readAll(t, j, 0)
	if len(got) != 1 || got[event.At(1, 0)] != "stays" {
		t.Errorf("read %v; want only what stayed", got)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready before Run = %v; want ErrUnavailable", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { mustAppend(t, j, "waits", 1) })
	}
	eventually(t, "all wait", func() bool { return j.QueueLen() == 10 })
	j.Drain()
	if _, err := j.Append(t.Context(), []byte("late"), 1); !errors.Is(err, journal.ErrDraining) {
		t.Errorf("Append when draining = %v; want ErrDraining", err)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrDraining) {
		t.Errorf("Ready when draining = %v; want ErrDraining", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Run(ctx); err != nil { // done before it starts: commits all the same
		t.Errorf("Run = %v", err)
	}
	wg.Wait()
	if got := readAll(t, j, 0); len(got) != 10 {
		t.Errorf("read %d batches; want 10", len(got))
	}
	if err := j.Run(t.Context()); err == nil {
		t.Error("second Run: no error")
	}
}

func TestRunEndsWhileCallersKeepComing(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	end := run(t, j)
	var wg sync.WaitGroup
	var mu sync.Mutex
	want := map[event.Position]string{}
	for i := range 20 {
		wg.Go(func() {
			for k := 0; ; k++ {
				text := fmt.Sprint(i, k)
				p, err := j.Append(t.Context(), []byte(text), 1)
				if errors.Is(err, journal.ErrDraining) {
					return
				}
				if err != nil {
					t.Errorf("Append = %v", err)
					return
				}
				mu.Lock()
				want[p] = text
				mu.Unlock()
			}
		})
	}
	eventually(t, "some are in", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(want) > 500
	})
	end()
	wg.Wait()
	got := readAll(t, j, 0)
	if len(got) != len(want) {
		t.Errorf("read %d batches; want %d", len(got), len(want))
	}
	for p, text := range want {
		if got[p] != text {
			t.Errorf("at %v read %q; want %q", p, got[p], text)
		}
	}
}

func TestServerGone(t *testing.T) {
	t.Parallel()
	s, stop := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	run(t, j)
	mustAppend(t, j, "x", 1)
	stop()
	begin := time.Now()
	_, err := j.Append(t.Context(), []byte("y"), 1)
	if !errors.Is(err, journal.ErrUnavailable) || journal.RetryAfter(err) <= 0 {
		t.Errorf("Append = %v; want ErrUnavailable with a hint", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the answer took %v; want less than 5s", took)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready = %v; want ErrUnavailable", err)
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{}.WithTimeouts(100*time.Millisecond, 200*time.Millisecond))
	run(t, j)
	mustAppend(t, j, "x", 1)
	// Without its stream nobody listens on the subject.
	stream, err := s.JetStream().Stream(t.Context(), journal.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	if err := s.JetStream().DeleteStream(t.Context(), journal.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), []byte("y"), 1); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Append = %v; want ErrUnavailable", err)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready = %v; want ErrUnavailable", err)
	}
	// When it is back the journal notices without anybody asking.
	config.FirstSeq = 2
	if _, err := s.JetStream().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", func() bool { return j.Ready() == nil })
	mustAppend(t, j, "z", 1)
}

func TestSequenceThatGoesBackEndsRun(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	done := make(chan error, 1)
	go func() { done <- j.Run(context.WithoutCancel(t.Context())) }()
	for range 3 {
		mustAppend(t, j, "x", 1)
	}
	stream, err := s.JetStream().Stream(t.Context(), journal.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.JetStream().DeleteStream(t.Context(), journal.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if _, err := s.JetStream().CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	if p, err := j.Append(t.Context(), []byte("y"), 1); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Append = %v, %v; want ErrUnavailable", p, err)
	}
	if err := <-done; err == nil {
		t.Error("Run = nil; want an error")
	}
	if _, err := j.Append(t.Context(), []byte("y"), 1); !errors.Is(err, journal.ErrDraining) {
		t.Errorf("Append after Run = %v; want ErrDraining", err)
	}
}

// What State sees can be ahead of the acknowledgement that is on its way.
func TestAppendWhileOthersLook(t *testing.T) {
	t.Parallel()
	j := start(t, journal.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				j.State(ctx)
			}
		})
	}
	for range 200 {
		mustAppend(t, j, "x", 1)
	}
	cancel()
	wg.Wait()
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	if _, err := journal.Open(t.Context(), s, journal.Options{MaxBytes: 1 << 50}); err == nil {
		t.Error("more than the server may store: no error")
	}
	js := s.JetStream()
	create := func(c jetstream.StreamConfig) {
		t.Helper()
		c.Subjects = []string{c.Name}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	create(jetstream.StreamConfig{Name: "NEWER", Metadata: map[string]string{"eye.journal.format": "2"}})
	if _, err := journal.Open(t.Context(), s, journal.Options{Stream: "NEWER", MaxBytes: 1 << 20}); !errors.Is(err, journal.ErrNewerFormat) {
		t.Errorf("newer format: %v; want ErrNewerFormat", err)
	}
	create(jetstream.StreamConfig{Name: "MEMORY", Storage: jetstream.MemoryStorage})
	if _, err := journal.Open(t.Context(), s, journal.Options{Stream: "MEMORY", MaxBytes: 1 << 20}); err == nil {
		t.Error("stream in memory: no error")
	}
	create(jetstream.StreamConfig{Name: "ASYNC", PersistMode: jetstream.AsyncPersistMode})
	if _, err := journal.Open(t.Context(), s, journal.Options{Stream: "ASYNC", MaxBytes: 1 << 20}); err == nil {
		t.Error("stream that is not synced: no error")
	}
}
