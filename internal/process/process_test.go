package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
	"github.com/the-eye/eye/internal/process"
	"github.com/the-eye/eye/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is what a store has on disk: it outlives the stores that open it.
type memory struct {
	mu         sync.Mutex
	block      uint64
	events     []event.Event
	duplicates []store.Duplicate
	refusals   []event.Refusal
	counts     map[store.Count]store.Count
	appends    int
	opens      int

	// fail is asked before each Append has stored anything and after it has;
	// an error makes Append fail there.
	fail func(appends int, stored bool) error
}

// fake is an open store on memory.
type fake struct {
	store.Reader // reading is not what these tests are about
	m            *memory
	closed       atomic.Bool
}

func (m *memory) open(context.Context) (store.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opens++
	return &fake{m: m}, nil
}

func (f *fake) CommittedBlock(context.Context) (uint64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.m.block, nil
}

func (f *fake) Existing(_ context.Context, keys []event.Key) ([]store.Original, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	out := make([]store.Original, len(keys))
	for i, k := range keys {
		for j := range f.m.events {
			if e := &f.m.events[j]; e.Key() == k {
				out[i] = store.Original{Position: e.Position, Digest: e.Digest()}
			}
		}
	}
	return out, nil
}

func (f *fake) Append(_ context.Context, b *store.Batch) error {
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.closed.Load() {
		panic("append to a closed store")
	}
	m.appends++
	if m.fail != nil {
		if err := m.fail(m.appends, false); err != nil {
			return err
		}
	}
	if b.Block <= m.block {
		return fmt.Errorf("block %d after block %d", b.Block, m.block)
	}
	m.block = b.Block
	for _, e := range b.Events {
		e.ID, e.Data = string([]byte(e.ID)), slices.Clone(e.Data)
		e.Application = string([]byte(e.Application))
		m.events = append(m.events, e)
	}
	m.duplicates = append(m.duplicates, b.Duplicates...)
	m.refusals = append(m.refusals, b.Refusals...)
	for _, c := range b.Counts {
		key := store.Count{Minute: c.Minute, Application: string([]byte(c.Application)), Category: string([]byte(c.Category)), Name: string([]byte(c.Name))}
		sum := m.counts[key]
		sum.Received += c.Received
		sum.Stored += c.Stored
		sum.Duplicate += c.Duplicate
		sum.Quarantined += c.Quarantined
		if m.counts == nil {
			m.counts = map[store.Count]store.Count{}
		}
		m.counts[key] = sum
	}
	if m.fail != nil {
		return m.fail(m.appends, true)
	}
	return nil
}

func (f *fake) Check(context.Context) error { return nil }
func (f *fake) Close() error                { f.closed.Store(true); return nil }

func (m *memory) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, e := range m.events {
		ids = append(ids, e.ID)
	}
	return ids
}

// bench is a journal with a processor behind it.
type bench struct {
	t       testing.TB
	journal *journal.Journal
	memory  *memory
	options process.Options
}

func newBench(t testing.TB) *bench {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	server, err := journal.StartServer(t.Context(), journal.ServerOptions{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(context.Background()) })
	j, err := journal.Open(t.Context(), server, journal.Options{MaxBytes: 1 << 30, MinFreeBytes: 1 << 20, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	run(t, j.Run)
	m := &memory{}
	return &bench{t, j, m, process.Options{Log: log, Journal: j, Open: m.open, BatchEvents: 1000, BatchBytes: 1 << 20}}
}

// run runs f until the test ends.
func run(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// process starts a processor.
func (b *bench) process() *process.Processor {
	p := process.New(b.options)
	run(b.t, p.Run)
	return p
}

// sent is one event, or with no id a refusal.
type sent struct{ application, id, data string }

const received = event.Micros(1609495200_000000) // 2021-01-01T10:00:00Z

// append appends one request of one application.
func (b *bench) append(events ...sent) event.Position {
	b.t.Helper()
	records := event.AppendHeader(nil, events[0].application, received)
	for _, s := range events {
		if s.id == "" {
			records = event.AppendRefusal(records, &event.Refusal{Category: "c", Name: "n",
				Violations: []event.Violation{{Code: event.Required}}, Original: []byte(s.data)})
			continue
		}
		records = event.AppendEvent(records, &event.Event{ID: s.id, SessionID: "s", Category: "c", Name: "n",
			Data: []byte(s.data), Timestamp: 5, Sequence: event.NoSequence}, received)
	}
	first, err := b.journal.Append(b.t.Context(), records, len(events))
	if err != nil {
		b.t.Fatalf("Append: %v", err)
	}
	return first + event.Position(len(events)-1)
}

func await(t testing.TB, p *process.Processor, position event.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Await(ctx, position); err != nil {
		t.Fatalf("Await(%d): %v; health: %v", position, err, p.Health())
	}
}

func TestDuplicatesAreDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.process()
	b.append(sent{"a", "1", "{}"}, sent{"a", "2", "{}"}, sent{"a", "1", "{}"}) // in one request
	b.append(sent{"b", "1", "{}"})                                             // another application's
	await(t, p, b.append(sent{"a", "", "raw"}, sent{"a", "2", `{"x":1}`}))     // later, with other content

	if diff := cmp.Diff([]string{"1", "2", "1"}, b.memory.ids()); diff != "" {
		t.Errorf("stored ids (-want +got):\n%s", diff)
	}
	var conflicts []bool
	for _, d := range b.memory.duplicates {
		conflicts = append(conflicts, d.Conflict)
	}
	if diff := cmp.Diff([]bool{false, true}, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if len(b.memory.refusals) != 1 || string(b.memory.refusals[0].Original) != "raw" {
		t.Errorf("refusals: %+v", b.memory.refusals)
	}
	want := map[store.Count]store.Count{
		{Minute: received, Application: "a", Category: "c", Name: "n"}: {Received: 5, Stored: 2, Duplicate: 2, Quarantined: 1},
		{Minute: received, Application: "b", Category: "c", Name: "n"}: {Received: 1, Stored: 1},
	}
	if diff := cmp.Diff(want, b.memory.counts); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

// TestEachEventOnceWhateverFails lets the store fail before it stored, and
// after it stored without saying so, transiently and for good.
func TestEachEventOnceWhateverFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		afterwards bool
		err        error
	}{
		"before storing":            {false, errors.New("disk full")},
		"before storing, broken":    {false, fmt.Errorf("append: %w", store.ErrBroken)},
		"after storing, broken":     {true, fmt.Errorf("append: %w", store.ErrBroken)},
		"after storing, transient":  {true, errors.New("answer lost")},
		"before storing, a timeout": {false, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.memory.fail = func(appends int, stored bool) error {
				if appends%3 != 0 && appends < 12 && stored == c.afterwards {
					return c.err
				}
				return nil
			}
			p := b.process()
			var last event.Position
			var want []string
			for i := range 20 {
				id := fmt.Sprint(i)
				last = b.append(sent{"a", id, "{}"}, sent{"a", id, "{}"})
				want = append(want, id)
			}
			await(t, p, last)
			if diff := cmp.Diff(want, b.memory.ids()); diff != "" {
				t.Errorf("stored ids (-want +got):\n%s", diff)
			}
			if err := p.Health(); err != nil {
				t.Errorf("Health = %v after it went on", err)
			}
			reopened := b.memory.opens > 1
			if reopened != errors.Is(c.err, store.ErrBroken) {
				t.Errorf("the store was opened %d times", b.memory.opens)
			}
		})
	}
}

func TestGoesOnWhereTheStoreStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := process.New(b.options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- first.Run(ctx) }()
	await(t, first, b.append(sent{"a", "1", "{}"}))
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	last := b.append(sent{"a", "2", "{}"}, sent{"a", "1", "{}"})
	await(t, b.process(), last)
	if diff := cmp.Diff([]string{"1", "2"}, b.memory.ids()); diff != "" {
		t.Errorf("stored ids (-want +got):\n%s", diff)
	}
}

func TestAnOlderJournalIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(sent{"a", "1", "{}"})
	b.memory.block = 7
	p := process.New(b.options)
	if err := p.Run(t.Context()); !errors.Is(err, process.ErrJournalBehind) {
		t.Errorf("Run = %v; want ErrJournalBehind", err)
	}
}

func TestAGapIsNotSteppedOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var last event.Position
	for i := range 5 {
		last = b.append(sent{"a", fmt.Sprint(i), "{}"})
	}
	p := b.process()
	await(t, p, last)
	// Everything is let go of, then the store is replaced by an empty one.
	b2 := *b
	b2.memory = &memory{}
	b2.options.Open = b2.memory.open
	b2.options.Journal = purged{b.journal, 4}
	q := b2.process()
	<-q.Tried()
	if err := q.Health(); !errors.Is(err, process.ErrGap) {
		t.Errorf("Health = %v; want ErrGap", err)
	}
	if n := len(b2.memory.ids()); n != 0 {
		t.Errorf("%d events were stored behind the gap", n)
	}
}

// purged is a journal that no longer has the blocks before first.
type purged struct {
	*journal.Journal
	first uint64
}

func (p purged) State(ctx context.Context) (journal.State, error) {
	s, err := p.Journal.State(ctx)
	s.First = p.first
	return s, err
}

func TestWaitingIsNotLeftToTheInterval(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.options.Interval = time.Hour
	p := b.process()
	await(t, p, b.append(sent{"a", "1", "{}"})) // the first is stored at once
	await(t, p, b.append(sent{"a", "2", "{}"})) // the second because somebody waits
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.process()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Await(ctx, event.At(99, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Await = %v; want context.Canceled", err)
	}
}

func TestPublishedInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var got []event.Position
	b.options.Publish = func(events []event.Event) {
		for _, e := range events {
			got = append(got, e.Position)
		}
	}
	p := process.New(b.options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	var last event.Position
	for i := range 100 {
		last = b.append(sent{"a", fmt.Sprint(i), "{}"}, sent{"a", "x" + fmt.Sprint(i), "{}"})
	}
	await(t, p, last)
	cancel()
	<-ended
	if len(got) != 200 || !slices.IsSorted(got) {
		t.Errorf("%d published, sorted: %v; want 200 in order", len(got), slices.IsSorted(got))
	}
}
