// Package event holds the words of The Eye: what an event is, when it is
// well-formed, how events are ordered, and how they are written down.
//
// It knows rules and values only: no I/O, no goroutines, no clock but the one
// it is handed.
package event

import "cmp"

// Limits of the envelope, in characters (Unicode code points), levels and
// digits. They are part of the HTTP contract.
const (
	MaxTextChars    = 128 // id, session_id, category, name
	MaxDepth        = 64  // nesting of the whole event, the event itself being level 1
	MaxNumberDigits = 64  // characters of one number literal
)

// NoSequence is the Sequence of an event whose sender keeps no counter.
// It is below every valid sequence, so that absent sorts first.
const NoSequence = -1

// Event is one thing that happened, checked and complete.
//
// The text fields hold 1 to MaxTextChars characters of valid UTF-8. Data is a
// JSON object, byte for byte as the application sent it.
type Event struct {
	Application string // who sent it; stamped by the server from the credential
	ID          string // unique within Application
	SessionID   string
	Category    string
	Name        string
	Data        []byte
	Timestamp   Micros // when it occurred, by the sender's clock
	Sequence    int64  // the sender's counter, or NoSequence
	ReceivedAt  Micros // when the request arrived, by the server's clock

	// Position is the event's place in the journal: its receipt, and the last
	// tie-breaker of the order inside a session.
	Position Position

	// SchemaVersion is the version of the payload schema it was held against,
	// 0 when there was none. Violations is what that check found in an event
	// accepted all the same (mode observe), as a JSON array; nil when nothing.
	SchemaVersion int32
	Violations    []byte
}

// Type is the pair that names what kind of event this is.
type Type struct {
	Category string
	Name     string
}

// Type of the event.
func (e *Event) Type() Type { return Type{e.Category, e.Name} }

// Key names an event for ever: an application never gets two events with one id.
type Key struct {
	Application string
	ID          string
}

// Key of the event.
func (e *Event) Key() Key { return Key{e.Application, e.ID} }

// Order is the total order of events inside a session (and of every list of
// events): Timestamp, then Sequence with absent first, then Position.
type Order struct {
	Timestamp Micros
	Sequence  int64
	Position  Position
}

// Order of the event.
func (e *Event) Order() Order { return Order{e.Timestamp, e.Sequence, e.Position} }

// Compare returns -1, 0 or +1 as a comes before, is, or comes after b.
func (a Order) Compare(b Order) int {
	return cmp.Or(
		cmp.Compare(a.Timestamp, b.Timestamp),
		cmp.Compare(a.Sequence, b.Sequence),
		cmp.Compare(a.Position, b.Position),
	)
}

// Refusal is what an application sent and the door did not let in. It travels
// the journal like an event, into quarantine.
//
// The text fields hold what could be read of them, "" where nothing could.
type Refusal struct {
	Application string
	ID          string
	SessionID   string
	Category    string
	Name        string
	ReceivedAt  Micros
	Position    Position
	Violations  []Violation // at least one
	Original    []byte      // the bytes as sent (after content decoding)
}

// Disposition is what became of something an application sent.
type Disposition string

// The dispositions. Pending is the only one that changes by itself.
const (
	Pending     Disposition = "pending"     // in the journal, not yet processed
	Stored      Disposition = "stored"      // readable
	Duplicate   Disposition = "duplicate"   // the same application and id was there first
	Quarantined Disposition = "quarantined" // refused; lies in quarantine with its violations
	Deleted     Disposition = "deleted"     // was stored or quarantined, and removed on request
)
