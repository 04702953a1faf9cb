package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Event is one thing that happened, as an application sends it.
type Event struct {
	// ID is unique within the application and makes a retry harmless. "": a
	// UUIDv7 is made.
	ID string

	// SessionID, Category and Name have 1 to 128 characters.
	SessionID string
	Category  string
	Name      string

	// Data is the payload: anything that encoding/json makes a JSON object of.
	// A json.RawMessage goes to the server byte for byte (but for line breaks,
	// which become spaces). nil stands for the empty object.
	Data any

	// Timestamp is when it occurred, kept to the microsecond. Zero: now.
	Timestamp time.Time

	// Sequence is the application's own counter; it orders events of one
	// timestamp. nil: the application keeps none.
	Sequence *int64
}

// Sequence returns n in the form that Event wants it.
func Sequence(n int64) *int64 { return &n }

// timeLayout is how instants are written: UTC, to the microsecond.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// complete gives the event the id and the timestamp that it lacks.
func (e *Event) complete() {
	if e.ID != "" && !e.Timestamp.IsZero() {
		return
	}
	now := time.Now()
	if e.Timestamp.IsZero() {
		e.Timestamp = now
	}
	if e.ID == "" {
		e.ID = newID(now)
	}
}

// encode writes a complete event as one line of JSON, without the line break,
// and makes Data the payload as written.
func (e *Event) encode() ([]byte, error) {
	data, err := encodeData(e.Data)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(data)+len(e.ID)+len(e.SessionID)+len(e.Category)+len(e.Name)+160)
	for _, f := range [...]struct{ name, value string }{
		{`{"id":`, e.ID}, {`,"session_id":`, e.SessionID}, {`,"category":`, e.Category}, {`,"name":`, e.Name},
	} {
		if !utf8.ValidString(f.value) {
			return nil, fmt.Errorf("encode event: %q is not valid UTF-8", f.value)
		}
		b = appendString(append(b, f.name...), f.value)
	}
	b = append(b, `,"timestamp":"`...)
	b = e.Timestamp.UTC().AppendFormat(b, timeLayout)
	b = append(b, '"')
	if e.Sequence != nil {
		b = strconv.AppendInt(append(b, `,"sequence":`...), *e.Sequence, 10)
	}
	b = append(b, `,"data":`...)
	at := len(b)
	b = append(b, data...)
	e.Data = json.RawMessage(b[at:len(b):len(b)])
	return append(b, '}'), nil
}

// encodeData writes a payload as one line of JSON.
func encodeData(data any) ([]byte, error) {
	switch data := data.(type) {
	case nil:
		return []byte("{}"), nil
	case json.RawMessage:
		if !json.Valid(data) {
			return nil, errors.New("encode data: the RawMessage is not valid JSON")
		}
		return oneLine(data), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // < and & are themselves in JSON
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("encode data: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// oneLine returns JSON without its line breaks. They cannot be inside of a
// string, where JSON has them escaped. The argument is left as it is.
func oneLine(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	b = bytes.Clone(b)
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	return b
}

// appendString appends s as a JSON string. s is valid UTF-8.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// StoredEvent is an event as read back: what the application sent, and what
// the server knows about it.
type StoredEvent struct {
	ID        string          `json:"id"`
	SessionID string          `json:"session_id"`
	Category  string          `json:"category"`
	Name      string          `json:"name"`
	Data      json.RawMessage `json:"data"` // with every number as it was sent
	Timestamp time.Time       `json:"timestamp"`
	Sequence  *int64          `json:"sequence"`

	Application   string      `json:"application"`
	ReceivedAt    time.Time   `json:"received_at"`
	Position      int64       `json:"position"` // 1-based place in its session at the time of reading; 0 where the server gives none
	SchemaVersion int64       `json:"schema_version"`
	Violations    []Violation `json:"violations"` // broken rules of an event type that only observes
	Receipt       string      `json:"receipt"`

	// Raw is the whole object as the server sent it.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the object in Raw beside taking it apart.
func (e *StoredEvent) UnmarshalJSON(b []byte) error {
	type plain StoredEvent
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	e.Raw = bytes.Clone(b)
	return nil
}

// MarshalJSON returns Raw, and builds the object where there is none.
func (e StoredEvent) MarshalJSON() ([]byte, error) {
	if e.Raw != nil {
		return e.Raw, nil
	}
	type plain StoredEvent
	return json.Marshal(plain(e))
}

// Decode decodes the payload into v, as json.Unmarshal does.
func (e *StoredEvent) Decode(v any) error { return json.Unmarshal(e.Data, v) }
