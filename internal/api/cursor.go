package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
	"github.com/the-eye/eye/internal/store"
)

// A cursor is base64url (without padding) of
//
//	version, 1 byte
//	fingerprint of the list and its filters, 8 bytes
//	key of the last item, in a form of the list's own
//
// so it can only go on with the list that it came from. It gives no right to
// anything: the filters of whoever brings it apply.

const cursorVersion = 1

// maxCursorBytes is more than any cursor has.
const maxCursorBytes = 1024

// fingerprint stands for a list and its filters.
type fingerprint [8]byte

// fingerprintOf is the fingerprint of a list with those filters, one text each.
func fingerprintOf(list string, filters ...string) fingerprint {
	h := sha256.New()
	var n [8]byte
	for _, text := range append([]string{list}, filters...) {
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	return fingerprint(h.Sum(nil)[:8])
}

// appendFilter appends what makes f differ from other filters.
func appendFilter(texts []string, f *store.Filter) []string {
	texts = append(texts, f.Application, f.SessionID, f.Category, f.Name, f.From.String(), f.To.String())
	for _, d := range f.Data {
		texts = append(texts, strconv.Itoa(len(d.Path)), d.Value)
		texts = append(texts, d.Path...)
	}
	return texts
}

func encodeCursor(f fingerprint, key []byte) string {
	b := append([]byte{cursorVersion}, f[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, key...))
}

var (
	errCursor      = errors.New("no cursor of this list")
	errOtherCursor = errors.New("cursor of other filters")
)

// decodeCursor is the key in a cursor of the list with that fingerprint.
func decodeCursor(f fingerprint, text string) ([]byte, error) {
	if len(text) > base64.RawURLEncoding.EncodedLen(maxCursorBytes) {
		return nil, errCursor
	}
	// Strict, so that a cursor has exactly one spelling. Decode skips line
	// ends even so.
	for i := range len(text) {
		if text[i] == '\r' || text[i] == '\n' {
			return nil, errCursor
		}
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 1+len(f) || b[0] != cursorVersion {
		return nil, errCursor
	}
	if fingerprint(b[1:1+len(f)]) != f {
		return nil, errOtherCursor
	}
	return b[1+len(f):], nil
}

// cursor reads the parameter cursor with the list's own decoder of keys; nil
// when there is none, which an empty cursor means too. It comes last and
// reports what is wrong with the other parameters first.
func cursor[K any](p *params, f fingerprint, decode func([]byte) (K, bool)) (*K, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	text := p.values.Get("cursor")
	if text == "" {
		return nil, nil
	}
	b, err := decodeCursor(f, text)
	if err == nil {
		if key, ok := decode(b); ok {
			return &key, nil
		}
		err = errCursor
	}
	message := "cursor must be what next of the page before was."
	if err == errOtherCursor {
		message = "The cursor belongs to a list with other filters or another order. Keep them the same from page to page, or start again without a cursor."
	}
	return nil, &problem.Problem{
		Status: http.StatusBadRequest, Type: "invalid-cursor", Title: "Invalid cursor", Detail: message,
		Violations: []event.Violation{{Pointer: "/cursor", Code: impossible, Message: message}},
	}
}

// orderKey is the key of a list of events.
func orderKey(o event.Order) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(o.Timestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Sequence))
	return binary.BigEndian.AppendUint64(b, uint64(o.Position))
}

func decodeOrder(b []byte) (event.Order, bool) {
	if len(b) != 24 {
		return event.Order{}, false
	}
	o := event.Order{
		Timestamp: event.Micros(binary.BigEndian.Uint64(b)),
		Sequence:  int64(binary.BigEndian.Uint64(b[8:])),
		Position:  event.Position(binary.BigEndian.Uint64(b[16:])),
	}
	return o, o.Sequence >= event.NoSequence
}

// sessionKey is the key of a list of sessions.
func sessionKey(k store.SessionKey) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(k.FirstTimestamp)), k.ID...)
}

func decodeSessionKey(b []byte) (store.SessionKey, bool) {
	if len(b) < 9 || !utf8.Valid(b[8:]) || utf8.RuneCount(b[8:]) > event.MaxTextChars {
		return store.SessionKey{}, false
	}
	return store.SessionKey{FirstTimestamp: event.Micros(binary.BigEndian.Uint64(b)), ID: string(b[8:])}, true
}

// positionKey is the key of the quarantine.
func positionKey(p event.Position) []byte { return binary.BigEndian.AppendUint64(nil, uint64(p)) }

func decodePosition(b []byte) (event.Position, bool) {
	if len(b) != 8 {
		return 0, false
	}
	p := event.Position(binary.BigEndian.Uint64(b))
	return p, p != 0
}

// decodeApplicationKey: the key of the list of applications is the id.
func decodeApplicationKey(b []byte) (string, bool) {
	return string(b), access.CheckID(string(b)) == nil
}
