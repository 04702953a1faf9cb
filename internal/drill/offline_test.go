package drill_test

import (
	"context"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/catalog"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
)

// The checks of this file open the files of a stopped installation.

// quiet is the log of what is opened here.
var quiet = slog.New(slog.DiscardHandler)

// engine opens the journal's server of the installation.
func (h *home) engine(t testing.TB) *journal.Server {
	t.Helper()
	s, err := journal.StartServer(t.Context(), journal.ServerOptions{Dir: h.journalDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeEngine(t testing.TB, s *journal.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// receipts reads the key behind receipts.
func (h *home) receipts(t testing.TB) *event.Receipts {
	t.Helper()
	s := h.engine(t)
	defer closeEngine(t, s)
	c, err := catalog.Open(t.Context(), quiet, s.JetStream(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.ReceiptKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := event.NewReceipts(key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// records are those that the journal still has, in order, read and decoded by
// nobody who has a part in storing them, and the state of the journal.
func (h *home) records(t testing.TB) (records []event.Record, state journal.State) {
	t.Helper()
	s := h.engine(t)
	defer closeEngine(t, s)
	j, err := journal.Open(t.Context(), s, journal.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if state, err = j.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := j.Read(t.Context(), state.First-1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.After() < state.Last {
		block, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("read the journal: %v", err)
		}
		index := 0
		for _, b := range block.Batches { // never released: records point into it
			err := event.DecodeRecords(b.Records, event.At(block.Sequence, index), func(r event.Record) error {
				records = append(records, r)
				return nil
			})
			if err != nil {
				t.Fatalf("decode block %d: %v", block.Sequence, err)
			}
			index += b.Count
		}
	}
	return records, state
}

// fold is what must be in the store, given the records of the journal.
type fold struct {
	events map[event.Position]*event.Event
	fates  []store.Fate
	ledger map[ledgerKey]store.Count
}

type ledgerKey struct {
	minute                      event.Micros
	application, category, name string
}

// foldOf says it in the plainest way.
func foldOf(records []event.Record) *fold {
	f := &fold{events: make(map[event.Position]*event.Event), ledger: make(map[ledgerKey]store.Count)}
	seen := make(map[event.Key]bool)
	for _, r := range records {
		if x := r.Refusal; x != nil {
			f.fates = append(f.fates, store.Fate{Position: x.Position, Disposition: event.Quarantined})
			f.counted(x.ReceivedAt, x.Application, x.Category, x.Name, func(c *store.Count) { c.Quarantined++ })
			continue
		}
		e := r.Event
		if seen[e.Key()] {
			f.fates = append(f.fates, store.Fate{Position: e.Position, Disposition: event.Duplicate})
			f.counted(e.ReceivedAt, e.Application, e.Category, e.Name, func(c *store.Count) { c.Duplicate++ })
			continue
		}
		seen[e.Key()] = true
		f.events[e.Position] = e
		f.counted(e.ReceivedAt, e.Application, e.Category, e.Name, func(c *store.Count) { c.Stored++ })
	}
	return f
}

func (f *fold) counted(at event.Micros, application, category, name string, change func(*store.Count)) {
	// What was refused may be no UTF-8, which the ledger's text must be.
	k := ledgerKey{at - at%60e6, application, strings.ToValidUTF8(category, "\ufffd"), strings.ToValidUTF8(name, "\ufffd")}
	c := f.ledger[k]
	c.Minute, c.Application, c.Category, c.Name = k.minute, k.application, k.category, k.name
	c.Received++
	change(&c)
	f.ledger[k] = c
}

// checkOffline compares what was acknowledged with the journal, and the journal
// with the store and its ledger. The program has been stopped.
func (d *drill) checkOffline() {
	d.t.Helper()
	records, state := d.home.records(d.t)
	d.checkJournal(records, event.At(state.First, 0))

	st, err := duckdb.Open(d.t.Context(), duckdb.Options{Path: filepath.Join(d.home.dir, "store", "eye.duckdb")})
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	if block, err := st.CommittedBlock(d.t.Context()); err != nil || block != state.Last {
		d.t.Fatalf("CommittedBlock() = %d, %v; want %d, the journal's last, since everything was settled", block, err, state.Last)
	}
	var want *fold
	if state.First == 1 { // else it has let go of what the store has
		want = foldOf(records)
		d.checkEvents(st, want)
		fates, err := st.Dispositions(d.t.Context(), event.At(1, 0), event.At(state.Last+1, 0)-1)
		if err != nil {
			d.t.Fatal(err)
		}
		if diff := cmp.Diff(want.fates, fates); diff != "" {
			d.t.Errorf("dispositions (-want +got):\n%.2000s", diff)
		}
	}
	d.checkLedger(st, want)
}

// checkJournal looks for every acknowledged record in the journal, from first on.
func (d *drill) checkJournal(records []event.Record, first event.Position) {
	d.t.Helper()
	lost := d.lost(records, first)
	for _, a := range lost[:min(len(lost), 10)] {
		d.t.Errorf("LOST: %v, acknowledged at %d, is not in the journal there", a.entry, a.position)
	}
	d.t.Logf("the journal has %d records; of %d acknowledged ones %d are lost", len(records), len(d.book.positions), len(lost))
}

// lost are the acknowledged attempts, from first on, that the journal does not have.
func (d *drill) lost(records []event.Record, first event.Position) (lost []*attempt) {
	at := make(map[event.Position]event.Record, len(records))
	for _, r := range records {
		if r.Event != nil {
			at[r.Event.Position] = r
		} else {
			at[r.Refusal.Position] = r
		}
	}
	look := func(e *entry) {
		for _, a := range e.attempts {
			r, ok := at[a.position]
			switch {
			case a.position < first:
				continue
			case !ok:
			case a.content == nil:
				ok = r.Refusal != nil && r.Refusal.Application == e.application && string(r.Refusal.Original) == e.original
			default:
				ok = r.Event != nil && r.Event.Application == e.application && r.Event.ID == e.id && string(r.Event.Data) == a.content.data
			}
			if !ok {
				lost = append(lost, a)
			}
		}
	}
	for _, e := range d.book.order {
		look(e)
	}
	for _, e := range d.book.refused {
		look(e)
	}
	return lost
}

// checkEvents compares the stored events with those of the fold.
func (d *drill) checkEvents(st store.Store, want *fold) {
	d.t.Helper()
	got := 0
	for after := event.Position(0); ; {
		rows, err := st.Since(d.t.Context(), after, store.Filter{}, 5000)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for i := range rows {
			e := &rows[i].Event
			after = e.Position
			got++
			if w := want.events[e.Position]; w == nil {
				d.t.Errorf("stored at %d: %v, which is not the first with its key", e.Position, e.Key())
			} else if diff := cmp.Diff(w, e); diff != "" {
				d.t.Errorf("stored at %d (-want +got):\n%s", e.Position, diff)
			}
			if d.t.Failed() {
				return
			}
		}
	}
	if got != len(want.events) {
		d.t.Errorf("%d events are stored; want %d", got, len(want.events))
	}
}

// checkLedger holds the ledger against what is stored, and against the fold if
// there is one.
func (d *drill) checkLedger(st store.Store, want *fold) {
	d.t.Helper()
	counts, err := st.Ledger(d.t.Context(), 0, math.MaxInt64/2)
	if err != nil {
		d.t.Fatal(err)
	}
	var total store.Count
	for _, c := range counts {
		if c.Received != c.Stored+c.Duplicate+c.Quarantined+c.Discarded {
			d.t.Errorf("a row of the ledger does not balance: %+v", c)
		}
		if want != nil {
			k := ledgerKey{c.Minute, c.Application, c.Category, c.Name}
			if w := want.ledger[k]; w != c {
				d.t.Errorf("ledger: %+v; want %+v", c, w)
			}
			delete(want.ledger, k)
		}
		total.Received += c.Received
		total.Stored += c.Stored
		total.Duplicate += c.Duplicate
		total.Quarantined += c.Quarantined
	}
	if want != nil {
		for _, c := range want.ledger {
			d.t.Errorf("the ledger lacks %+v", c)
		}
	}
	size, err := st.Size(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if size.Events != total.Stored || size.Quarantined != total.Quarantined {
		d.t.Errorf("the store holds %d events and %d refusals; the ledger says %+v", size.Events, size.Quarantined, total)
	}
	d.t.Logf("the ledger balances: received %d = stored %d + duplicate %d + quarantined %d, in %d rows",
		total.Received, total.Stored, total.Duplicate, total.Quarantined, len(counts))
}

// finish stops the program and makes the last and most thorough check.
func (d *drill) finish(s *server, c *client) {
	d.t.Helper()
	d.settle(s, c)
	d.checkAll(s, c)
	s.stop()
	defer func() {
		if d.t.Failed() {
			d.t.Logf("log of the server:\n%s", s.lastLines())
		}
	}()
	d.checkOffline()
	d.summary()
}
