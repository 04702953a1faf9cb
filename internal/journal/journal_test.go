package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

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

func TestFullByBytesRecoversAfterTrim(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	j := start(t, journal.Options{MaxBytes: 1 << 20, Registerer: registry})
	chunk := string(random(100_000))
	var err error
	n := 0
	for ; n < 20; n++ {
		if _, err = j.Append(t.Context(), []byte(chunk), 1); err != nil {
			break
		}
	}
	if !errors.Is(err, journal.ErrFull) || journal.RetryAfter(err) <= 0 {
		t.Fatalf("after %d appends: %v, retry after %v; want ErrFull with a hint", n, err, journal.RetryAfter(err))
	}
	if n != 10 {
		t.Errorf("%d blocks of 100 kB fitted into 1 MiB; want 10", n)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrFull) {
		t.Errorf("Ready when full = %v; want ErrFull", err)
	}
	// Nothing is committed: nothing may go.
	if err := j.Trim(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(t.Context()); s.First != 1 || s.Last != 10 {
		t.Errorf("after Trim(0) blocks %d to %d; want 1 to 10", s.First, s.Last)
	}
	if err := j.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(t.Context()); s.First != 4 {
		t.Errorf("after Trim(3) the first block is %d; want 4", s.First)
	}
	if err := j.Ready(); err != nil {
		t.Errorf("Ready after Trim = %v", err)
	}
	mustAppend(t, j, chunk, 1)
	// Far more is committed than has to go to get under half.
	if err := j.Trim(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	s, err := j.State(t.Context())
	if err != nil || s.Bytes > 1<<19 || s.First > 8 || s.Last != 11 {
		t.Errorf("after Trim(11): %+v, %v; want at most %d bytes and no more gone than needed", s, err, 1<<19)
	}
	if _, err := j.Block(t.Context(), 1); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Block(1) = %v; want ErrNotFound", err)
	}
	for name, want := range map[string]float64{
		"eye_journal_blocks_total":         11,
		"eye_journal_records_total":        11,
		"eye_journal_refused_total":        1,
		"eye_journal_last_block":           11,
		"eye_journal_first_block":          float64(s.First),
		"eye_journal_trimmed_blocks_total": float64(s.First - 1),
	} {
		if got := metric(t, registry, name); got != want {
			t.Errorf("%s = %v; want %v", name, got, want)
		}
	}
}

func TestTrimByAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := serverAt(t, dir)
	j := open(t, s, journal.Options{Retention: time.Hour})
	end := run(t, j)
	for i := range 5 {
		mustAppend(t, j, fmt.Sprint(i), 1)
	}
	if err := j.Trim(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(t.Context()); s.First != 1 {
		t.Errorf("with young blocks the first is %d after Trim; want 1", s.First)
	}
	end()

	j = open(t, s, journal.Options{Retention: time.Nanosecond})
	if err := j.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(t.Context()); s.First != 4 || s.Last != 5 {
		t.Errorf("after Trim(3) blocks %d to %d; want 4 to 5", s.First, s.Last)
	}
	// The newest block stays, so that the sequence cannot start again.
	if err := j.Trim(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = serverAt(t, dir)
	j = open(t, s, journal.Options{})
	if s, _ := j.State(t.Context()); s.First != 5 || s.Last != 5 {
		t.Errorf("after everything was trimmed, and a restart, blocks %d to %d; want 5 to 5", s.First, s.Last)
	}
	run(t, j)
	if p := mustAppend(t, j, "6", 1); p != event.At(6, 0) {
		t.Errorf("next position %v; want %v", p, event.At(6, 0))
	}
}

func TestTrimKeepsYoungBlocks(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	var now time.Time
	const retention = time.Hour
	j := open(t, s, journal.Options{Retention: retention}.WithNow(func() time.Time { return now }))
	now = time.Now()
	run(t, j)
	for range 5 {
		mustAppend(t, j, "x", 1)
	}
	for _, n := range []uint64{1, 3, 4} {
		b, err := j.Block(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		now = b.Time.Add(retention) // the ones before it are older than that
		if err := j.Trim(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		if s, _ := j.State(t.Context()); s.First != n || s.Last != 5 {
			t.Errorf("when block %d has just the age, blocks %d to %d are there; want %d to 5", n, s.First, s.Last, n)
		}
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

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{MaxQueueBytes: 10_000})
	var wg sync.WaitGroup
	wg.Go(func() { mustAppend(t, j, strings.Repeat("x", 20_000), 1) }) // alone it always may
	eventually(t, "the first waits", func() bool { return j.QueueLen() == 1 })
	_, err := j.Append(t.Context(), []byte("x"), 1)
	if !errors.Is(err, journal.ErrFull) {
		t.Errorf("Append = %v; want ErrFull", err)
	}
	run(t, j)
	wg.Wait()
	mustAppend(t, j, "x", 1)
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

func TestDiskFloor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	free := int64(20 << 20)
	setFree := func(n int64) { mu.Lock(); free = n; mu.Unlock() }
	o := journal.Options{MinFreeBytes: 10 << 20}.WithStatfs(func(string) (journal.FileSystem, error) {
		mu.Lock()
		defer mu.Unlock()
		return journal.FileSystem{Total: 1 << 30, Free: free}, nil
	})
	j := start(t, o)
	mustAppend(t, j, "there is room", 1)
	setFree(10<<20 + 100)
	appendUntil := func(want error) {
		t.Helper()
		eventually(t, fmt.Sprint("Append answers ", want), func() bool {
			_, err := j.Append(t.Context(), records(1000), 1)
			return errors.Is(err, want)
		})
	}
	appendUntil(journal.ErrFull)
	if err := j.Ready(); !errors.Is(err, journal.ErrFull) {
		t.Errorf("Ready = %v; want ErrFull", err)
	}
	setFree(20 << 20)
	appendUntil(nil)
	if err := j.Ready(); err != nil {
		t.Errorf("Ready = %v", err)
	}
}

func TestDiskFloorCountsWhatIsWrittenBetweenLooks(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	noon := time.Now()
	o := journal.Options{MinFreeBytes: 10 << 20}.WithStatfs(func(string) (journal.FileSystem, error) {
		looks.Add(1)
		return journal.FileSystem{Total: 1 << 30, Free: 12 << 20}, nil
	}).WithNow(func() time.Time { return noon }) // so that it never is time for a second look
	j := start(t, o)
	before := looks.Load()
	chunk := random(1 << 20)
	if _, err := j.Append(t.Context(), chunk, 1); err != nil {
		t.Errorf("Append of 1 MiB with 2 MiB of room = %v", err)
	}
	if _, err := j.Append(t.Context(), chunk, 1); !errors.Is(err, journal.ErrFull) {
		t.Errorf("Append of another MiB = %v; want ErrFull", err)
	}
	if n := looks.Load() - before; n != 1 {
		t.Errorf("looked at the disk %d times; want 1", n)
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
