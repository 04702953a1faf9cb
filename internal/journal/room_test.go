package journal_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

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
	mustAppend(t, j, "for two", 1)
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
	// What is processed makes room before its time.
	mine, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Trim(t.Context(), mine.Last); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(t.Context()); s.First != mine.Last || s.Last != mine.Last {
		t.Errorf("after Trim with a full disk blocks %d to %d; want only %d", s.First, s.Last, mine.Last)
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
