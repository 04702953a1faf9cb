package event

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// The encoding of what travels the journal is described byte by byte in
// docs/format/record.md. In short, all of it lying behind one another:
//
//	records of one request = application, received_at, record …
//	record                 = kind, length, body
//
// It has no version of its own: the block around it has one.

const (
	kindEvent   = 1
	kindRefusal = 2
)

const (
	flagSequence = 1 << iota // a sequence follows the timestamp
	flagChecked              // schema version and violations follow
	knownFlags   = flagSequence | flagChecked
)

// AppendHeader appends the start of the records of one request.
func AppendHeader(b []byte, application string, receivedAt Micros) []byte {
	b = appendText(b, application)
	return binary.AppendVarint(b, int64(receivedAt))
}

// AppendEvent appends a record of e; its Application, ReceivedAt and Position
// are the header's and the journal's.
func AppendEvent(b []byte, e *Event, receivedAt Micros) []byte {
	b = append(b, kindEvent)
	b, mark := openLength(b)
	var flags byte
	if e.Sequence != NoSequence {
		flags |= flagSequence
	}
	if e.SchemaVersion != 0 || e.Violations != nil {
		flags |= flagChecked
	}
	b = append(b, flags)
	b = appendText(b, e.ID)
	b = appendText(b, e.SessionID)
	b = appendText(b, e.Category)
	b = appendText(b, e.Name)
	b = binary.AppendVarint(b, int64(e.Timestamp-receivedAt))
	if flags&flagSequence != 0 {
		b = binary.AppendUvarint(b, uint64(e.Sequence))
	}
	if flags&flagChecked != 0 {
		b = binary.AppendUvarint(b, uint64(e.SchemaVersion))
		b = binary.AppendUvarint(b, uint64(len(e.Violations)))
		b = append(b, e.Violations...)
	}
	b = append(b, e.Data...)
	return closeLength(b, mark)
}

// AppendRefusal appends a record of r; its Application, ReceivedAt and Position
// are the header's and the journal's.
func AppendRefusal(b []byte, r *Refusal) []byte {
	b = append(b, kindRefusal)
	b, mark := openLength(b)
	b = appendText(b, r.ID)
	b = appendText(b, r.SessionID)
	b = appendText(b, r.Category)
	b = appendText(b, r.Name)
	b = appendText(b, string(AppendViolations(nil, r.Violations)))
	b = append(b, r.Original...)
	return closeLength(b, mark)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// lengthBytes is the room for a body's length: a fixed four bytes, little
// endian, so that a body is written once and its length afterwards.
const lengthBytes = 4

func openLength(b []byte) ([]byte, int) { return append(b, 0, 0, 0, 0), len(b) }

func closeLength(b []byte, mark int) []byte {
	binary.LittleEndian.PutUint32(b[mark:], uint32(len(b)-mark-lengthBytes))
	return b
}

// Record is one thing read from the journal: an Event or a Refusal.
type Record struct {
	Event   *Event
	Refusal *Refusal
}

// ErrRecords: the bytes are no records as AppendEvent and AppendRefusal write them.
var ErrRecords = errors.New("malformed records")

// DecodeRecords calls take with each record of one request, the first of which
// lies at position first. The records' text and bytes lie in b.
func DecodeRecords(b []byte, first Position, take func(Record) error) error {
	r := recordReader{b: b}
	application := r.text()
	receivedAt := Micros(r.varint())
	for p := first; r.err == nil && len(r.b) > 0; p++ {
		kind := r.byte()
		body := recordReader{b: r.bytes(uint64(r.uint32()))}
		if r.err != nil {
			break
		}
		var rec Record
		switch kind {
		case kindEvent:
			rec.Event = body.event(receivedAt)
			rec.Event.Application, rec.Event.Position = application, p
		case kindRefusal:
			rec.Refusal = body.refusal()
			rec.Refusal.Application, rec.Refusal.ReceivedAt, rec.Refusal.Position = application, receivedAt, p
		default:
			return fmt.Errorf("%w: unknown kind %d", ErrRecords, kind)
		}
		if body.err != nil {
			return body.err
		}
		if err := take(rec); err != nil {
			return err
		}
	}
	return r.err
}

// recordReader reads from the front of b until something does not fit.
type recordReader struct {
	b   []byte
	err error
}

func (r *recordReader) fail() {
	r.b, r.err = nil, ErrRecords
}

func (r *recordReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *recordReader) uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	n := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return n
}

func (r *recordReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *recordReader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *recordReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *recordReader) text() string { return view(r.bytes(r.uvarint())) }

func (r *recordReader) event(receivedAt Micros) *Event {
	flags := r.byte()
	if flags&^knownFlags != 0 {
		r.fail()
	}
	e := &Event{
		ID: r.text(), SessionID: r.text(), Category: r.text(), Name: r.text(),
		ReceivedAt: receivedAt, Timestamp: receivedAt + Micros(r.varint()), Sequence: NoSequence,
	}
	if flags&flagSequence != 0 {
		e.Sequence = int64(r.uvarint())
	}
	if flags&flagChecked != 0 {
		e.SchemaVersion = int32(r.uvarint())
		e.Violations = r.bytes(r.uvarint())
	}
	e.Data = r.b
	return e
}

func (r *recordReader) refusal() *Refusal {
	f := &Refusal{ID: r.text(), SessionID: r.text(), Category: r.text(), Name: r.text()}
	violations := r.bytes(r.uvarint())
	f.Original = r.b
	if r.err == nil {
		if err := json.Unmarshal(violations, &f.Violations); err != nil {
			r.fail()
		}
	}
	return f
}
