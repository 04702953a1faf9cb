// Package store is the contract between The Eye and the engine that keeps its
// events and answers questions about them.
//
// One Processor writes; any number of readers read at the same time and never
// see half a batch. Every engine passes the suite in storetest.
package store

import (
	"context"
	"errors"

	"github.com/the-eye/eye/internal/event"
)

// ErrNotFound: what was asked for is not there, or not the asker's to see.
var ErrNotFound = errors.New("not found")

// ErrBroken: this Store is of no further use (its file is gone, its engine has
// given up). Close it and open it again.
var ErrBroken = errors.New("store is broken and must be opened again")

// Store keeps events, quarantine, duplicates and the ledger. Methods are safe
// for concurrent use, except that Existing and Append belong to one Processor.
type Store interface {
	Writer
	Reader

	// Check reports whether the store can serve, cheaply enough to be asked
	// every second: e.g. ErrBroken when its file has been removed.
	Check(ctx context.Context) error

	// Close waits for running calls and releases everything.
	Close() error
}

// Writer is what the processor needs.
type Writer interface {
	// CommittedBlock is the last journal block whose records are all in the
	// store, 0 when there is none.
	CommittedBlock(ctx context.Context) (uint64, error)

	// Existing tells which of the keys are already stored, however long ago.
	// The answer has the length of keys; Position 0 means not stored.
	Existing(ctx context.Context, keys []event.Key) ([]Original, error)

	// Append writes the batch in one transaction, its Block included: after a
	// crash either all of it is there or nothing. On error nothing is stored,
	// unless the error is ErrBroken, when CommittedBlock of the reopened store
	// tells. Append keeps no part of the batch after it returns.
	Append(ctx context.Context, b *Batch) error
}

// Original is the event that a duplicate repeats.
type Original struct {
	Position event.Position
	Digest   event.Digest // of its content, to tell a retry from an id used twice
}

// Batch is what one transaction stores: the outcome of whole journal blocks.
type Batch struct {
	Block      uint64 // last journal block that the batch covers; greater than CommittedBlock
	Events     []event.Event
	Duplicates []Duplicate
	Refusals   []event.Refusal
	Counts     []Count
}

// Duplicate says that the record at Position repeats the event at Original.
type Duplicate struct {
	Position    event.Position
	Original    event.Position
	Application string
	Conflict    bool // same id, other content: reported as id_conflict
}

// Count is a change of one row of the ledger. A row's
// Received = Stored + Duplicate + Quarantined + Discarded, always.
type Count struct {
	Minute      event.Micros // start of the minute of ReceivedAt
	Application string
	Category    string // "" where the body could not be read
	Name        string
	Received    int64
	Stored      int64
	Duplicate   int64
	Quarantined int64
	Discarded   int64
}

// Reader is what questions need.
type Reader interface {
	// Events lists the events that match, in the order of event.Order
	// (reversed when q.Descending), strictly behind q.After.
	Events(ctx context.Context, q EventQuery) ([]Row, error)

	// Event is the stored event with that key, or ErrNotFound.
	Event(ctx context.Context, key event.Key) (Row, error)

	// Sessions lists sessions by first timestamp, newest first, then by id.
	Sessions(ctx context.Context, q SessionQuery) ([]Session, error)

	// Session summarises one session, counting only events of application
	// unless it is "". ErrNotFound when there are none.
	Session(ctx context.Context, id, application string) (Session, error)

	// Outcome tells what became of the record at p. The record must lie in a
	// block up to CommittedBlock; then absence means deleted.
	Outcome(ctx context.Context, p event.Position) (Outcome, error)

	// Dispositions tells what became of the records from first to last
	// inclusive, all in blocks up to CommittedBlock: the ones that are not
	// stored, in order of position. All others are stored.
	Dispositions(ctx context.Context, first, last event.Position) ([]Fate, error)

	// Since lists stored events with a position greater than after, in order
	// of position, whatever their timestamps: the feed that live readers
	// resume from. Row.Place is not filled.
	Since(ctx context.Context, after event.Position, f Filter, limit int) ([]Row, error)

	// Quarantine lists refusals by position, newest first.
	Quarantine(ctx context.Context, q QuarantineQuery) ([]event.Refusal, error)

	// Refusal is the one refusal at p, or ErrNotFound.
	Refusal(ctx context.Context, p event.Position) (event.Refusal, error)

	// Ledger sums the ledger per row over from <= minute < to.
	Ledger(ctx context.Context, from, to event.Micros) ([]Count, error)

	// Size is what the store holds.
	Size(ctx context.Context) (Size, error)
}

// Row is an event as read back.
type Row struct {
	event.Event
	// Place is the event's 1-based place in its session at the time of reading,
	// counted over all applications (position in the API).
	Place int64
}

// Filter selects events. Zero fields do not filter.
type Filter struct {
	Application string
	SessionID   string
	Category    string
	Name        string
	From, To    event.Micros // From <= timestamp < To; 0 is open
	Data        []PathEquals // all of them
}

// PathEquals holds when the payload has at the dotted Path (object members,
// array indices as numbers) a string equal to Value, or a number, true, false
// or null whose JSON text is Value.
type PathEquals struct {
	Path  []string
	Value string
}

// EventQuery asks for one page of events.
type EventQuery struct {
	Filter
	Descending bool
	After      *event.Order // the last one of the page before; nil: from the start
	Limit      int          // > 0
}

// SessionQuery asks for one page of sessions.
type SessionQuery struct {
	Application string       // only its events count; "" all
	From, To    event.Micros // sessions that overlap [From, To); 0 is open
	Contains    *event.Type  // sessions with an event of that type (of that Application, if set)
	After       *SessionKey
	Limit       int // > 0
}

// SessionKey is a session's place in the list of sessions.
type SessionKey struct {
	FirstTimestamp event.Micros
	ID             string
}

// Session is a summary of all events with one session id.
type Session struct {
	ID             string
	FirstTimestamp event.Micros
	LastTimestamp  event.Micros
	Events         int64
	Applications   []string // sorted
}

// QuarantineQuery asks for one page of quarantine. Zero fields do not filter;
// From and To are about ReceivedAt.
type QuarantineQuery struct {
	Application string
	Category    string
	Name        string
	Code        event.Code // some violation has it
	From, To    event.Micros
	Before      event.Position // the last one of the page before; 0: from the newest
	Limit       int            // > 0
}

// Outcome is what became of one record.
type Outcome struct {
	Disposition event.Disposition
	Application string            // who sent it; "" when deleted
	Event       *Row              // stored: the event; duplicate: the one that was first
	Violations  []event.Violation // quarantined: why; stored: as marked; duplicate: id_conflict, if so
}

// Fate is the disposition of the record at Position.
type Fate struct {
	Position    event.Position
	Disposition event.Disposition
}

// Size is what the store holds, for metrics and people.
type Size struct {
	Events      int64
	Quarantined int64
	Bytes       int64 // on disk
}
