package api

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// JSON of items is appended by hand: what an application sent as data goes out
// as it came, byte for byte, which no encoder would leave it to do, and it is
// several times faster.

// AppendEvent appends an event as it is read back: one flat JSON object with
// the fields as sent beside the server's own facts. A row without Place gets no
// position.
func AppendEvent(b []byte, row *store.Row, receipts *event.Receipts) []byte {
	b = append(b, `{"application":`...)
	b = appendQuoted(b, row.Application)
	b = appendText(b, "id", row.ID)
	b = appendText(b, "session_id", row.SessionID)
	b = appendText(b, "category", row.Category)
	b = appendText(b, "name", row.Name)
	b = append(b, `,"data":`...)
	b = append(b, row.Data...)
	b = appendInstant(b, "timestamp", row.Timestamp)
	if row.Sequence != event.NoSequence {
		b = append(b, `,"sequence":`...)
		b = strconv.AppendInt(b, row.Sequence, 10)
	}
	b = appendInstant(b, "received_at", row.ReceivedAt)
	if row.Place > 0 {
		b = append(b, `,"position":`...)
		b = strconv.AppendInt(b, row.Place, 10)
	}
	b = append(b, `,"receipt":"`...)
	b = receipts.Append(b, row.Position)
	b = append(b, `","schema_version":`...)
	if row.SchemaVersion > 0 {
		b = strconv.AppendInt(b, int64(row.SchemaVersion), 10)
	} else {
		b = append(b, "null"...)
	}
	if len(row.Violations) > 0 {
		b = append(b, `,"violations":`...)
		b = append(b, row.Violations...)
	}
	return append(b, '}')
}

func appendSession(b []byte, s *store.Session) []byte {
	b = append(b, `{"session_id":`...)
	b = appendQuoted(b, s.ID)
	b = appendInstant(b, "first_timestamp", s.FirstTimestamp)
	b = appendInstant(b, "last_timestamp", s.LastTimestamp)
	b = append(b, `,"events":`...)
	b = strconv.AppendInt(b, s.Events, 10)
	b = append(b, `,"applications":[`...)
	for i, id := range s.Applications {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, id)
	}
	return append(b, "]}"...)
}

func appendRefusal(b []byte, r *event.Refusal, receipts *event.Receipts) []byte {
	b = append(b, `{"receipt":"`...)
	b = receipts.Append(b, r.Position)
	b = append(b, '"')
	b = appendText(b, "application", r.Application)
	b = appendInstant(b, "received_at", r.ReceivedAt)
	b = appendKnown(b, "category", r.Category)
	b = appendKnown(b, "name", r.Name)
	b = append(b, `,"violations":`...)
	b = event.AppendViolations(b, r.Violations)
	if utf8.Valid(r.Original) {
		b = append(b, `,"original":`...)
		b = appendQuoted(b, string(r.Original))
	} else {
		b = append(b, `,"original_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Original)
		b = append(b, '"')
	}
	return append(b, '}')
}

// appendText appends a comma and a member that is a text.
func appendText(b []byte, name, value string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendQuoted(b, value)
}

// appendKnown is appendText, with null for "".
func appendKnown(b []byte, name, value string) []byte {
	if value != "" {
		return appendText(b, name, value)
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":null`...)
}

func appendInstant(b []byte, name string, m event.Micros) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = m.Append(b)
	return append(b, '"')
}

func appendQuoted(b []byte, text string) []byte {
	// The error only says that U+FFFD stands for what was no UTF-8.
	b, _ = jsontext.AppendQuote(b, text)
	return b
}

var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// writeJSON answers with a finished JSON text.
func writeJSON(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	text = append(text, '\n')
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	w.WriteHeader(status)
	w.Write(text) // the reader may be gone; there is nobody left to tell
}
