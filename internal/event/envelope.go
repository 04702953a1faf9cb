package event

import (
	"bytes"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Framing says how events follow one another in a body.
type Framing int

// The framings.
const (
	JSON  Framing = iota // one object, or one array of them
	Lines                // one object a line; empty lines are skipped
)

// Rules are what an envelope is held against besides its own form.
type Rules struct {
	Now       Micros // when the request arrived
	Tolerance Micros // how far ahead of Now a timestamp may lie
	MaxBytes  int    // of one event as sent; 0: no bound
}

// Decoder takes the events out of a body, one after the other, in one pass.
//
// Nothing is copied: the text fields and Data of a decoded Event lie in the
// body (unless they held escapes) and are valid as long as the body is left
// alone. A Decoder may be used again after Reset; it is not safe for
// concurrent use.
type Decoder struct {
	s       scanner
	framing Framing
	rules   Rules
	array   bool // inside the array of a JSON body
	started bool
	done    bool

	event      Event
	violations []Violation
	raw        []byte
	fields     fieldSet
}

// Reset makes the decoder start on body.
func (d *Decoder) Reset(body []byte, framing Framing, rules Rules) {
	d.s = scanner{b: body, path: d.s.path[:0], keys: d.s.keys[:0], flaws: d.s.flaws[:0]}
	d.framing, d.rules = framing, rules
	d.array, d.started, d.done = false, false, false
}

// Batch tells whether the body is a batch (an array, or lines) and so wants the
// answer of one. It is known after the first Next.
func (d *Decoder) Batch() bool { return d.array || d.framing == Lines }

// Next decodes the next event. It returns false at the end of the body, and a
// *SyntaxError where the body is no JSON: then nothing behind that place can be
// trusted. With Lines a line that is no JSON is an event with a violation
// instead, since the next line starts in a known place.
//
// After Next returned true, Event, Raw and Violations describe the event; it is
// good when there are no violations.
func (d *Decoder) Next() (bool, error) {
	if d.done {
		return false, nil
	}
	d.event = Event{Sequence: NoSequence}
	d.violations = d.violations[:0]
	d.fields = 0
	if d.framing == Lines {
		return d.nextLine()
	}
	s := &d.s
	switch c := s.space(); {
	case !d.started:
		d.started = true
		if c == '[' {
			d.array = true
			s.i++
			if s.space() == ']' {
				s.i++
				return false, d.finish()
			}
		}
	case !d.array:
		return false, d.finish()
	case c == ',':
		s.i++
	case c == ']':
		s.i++
		return false, d.finish()
	default:
		return false, s.syntax("expected , or ] after an event")
	}
	s.space()
	if err := d.one(); err != nil {
		return false, err
	}
	if !d.array {
		return true, d.finish()
	}
	return true, nil
}

// finish makes sure that nothing follows the end of a JSON body.
func (d *Decoder) finish() error {
	d.done = true
	if d.s.space(); d.s.i < len(d.s.b) {
		return d.s.syntax("something follows the end of the JSON text")
	}
	return nil
}

func (d *Decoder) nextLine() (bool, error) {
	s := &d.s
	body := s.b
	if s.space(); s.i == len(body) {
		d.done = true
		return false, nil
	}
	// The line is scanned as a body of its own, so that nothing in it can reach
	// into the next one.
	start, stop := s.i, len(body)
	if n := bytes.IndexByte(body[start:], '\n'); n >= 0 {
		stop = start + n
	}
	s.b = body[:stop]
	err := d.one()
	if err == nil {
		if s.space(); s.i < stop {
			err = s.syntax("something follows the event on its line")
		}
	}
	s.b, s.i = body, stop
	if err != nil {
		d.raw = body[start:stop]
		d.violations = append(d.violations[:0], SyntaxViolation(err, start))
		s.path, s.keys, s.flaws = s.path[:0], s.keys[:0], s.flaws[:0]
	}
	return true, nil
}

// SyntaxViolation is the violation of an event that starts at byte start of its
// body and is no JSON.
func SyntaxViolation(err error, start int) Violation {
	message := err.Error()
	if syntax, ok := err.(*SyntaxError); ok {
		at := *syntax
		at.Offset -= start
		message = at.Error()
	}
	return Violation{Pointer: "", Code: InvalidJSON, Message: message}
}

// Event is the event that Next decoded, as far as it could be read. Application,
// ReceivedAt and Position are the caller's to fill.
func (d *Decoder) Event() *Event { return &d.event }

// Raw is the event as sent.
func (d *Decoder) Raw() []byte { return d.raw }

// Violations are the rules that the event breaks. They are valid until the next
// call of Next.
func (d *Decoder) Violations() []Violation { return d.violations }

// violate adds a violation at the member called field, or at the event itself.
func (d *Decoder) violate(field string, code Code, message string) {
	if len(d.violations) >= MaxViolations {
		return
	}
	pointer := ""
	if field != "" {
		pointer = "/" + field
	}
	d.violations = append(d.violations, Violation{Pointer: pointer, Code: code, Message: message})
}

// fieldSet has a bit for each field of the envelope.
type fieldSet uint8

const (
	fieldID fieldSet = 1 << iota
	fieldSession
	fieldCategory
	fieldName
	fieldData
	fieldTimestamp
	fieldSequence
)

// required lists the fields that an event cannot do without, in the order in
// which they are reported.
var required = [...]struct {
	bit  fieldSet
	name string
}{
	{fieldSession, "session_id"},
	{fieldCategory, "category"},
	{fieldName, "name"},
	{fieldData, "data"},
	{fieldTimestamp, "timestamp"},
}

// one decodes one event; the scanner is on its first byte.
func (d *Decoder) one() error {
	s := &d.s
	s.flaws = s.flaws[:0]
	start := s.i
	s.bound = len(s.b)
	if max := d.rules.MaxBytes; max > 0 {
		s.bound = start + max
	}
	if s.i < len(s.b) && s.b[s.i] == '{' {
		if err := d.members(); err != nil {
			return err
		}
		for _, f := range required {
			if d.fields&f.bit == 0 {
				d.violate(f.name, Required, f.name+" is missing")
			}
		}
	} else {
		if err := s.value(); err != nil {
			return err
		}
		d.violate("", WrongType, "an event must be a JSON object")
	}
	d.raw = s.b[start:s.i]
	d.violations = append(d.violations, s.flaws...)
	if len(d.violations) > MaxViolations {
		d.violations = d.violations[:MaxViolations]
	}
	if max := d.rules.MaxBytes; max > 0 && len(d.raw) > max {
		d.violations = append(d.violations[:0], Violation{Code: TooLarge, Message: "the event has " +
			strconv.Itoa(len(d.raw)) + " bytes; at most " + strconv.Itoa(max) + " are taken"})
	}
	return nil
}

// members decodes the members of the event; it is scanner.object with a meaning.
func (d *Decoder) members() error {
	s := &d.s
	s.i++
	if s.space() == '}' {
		s.i++
		return nil
	}
	base := len(s.keys)
	s.path = append(s.path, between)
	var seen map[string]bool
	for {
		s.path[0] = between
		key, err := s.key()
		if err != nil {
			return err
		}
		seen = s.unique(base, seen, key)
		s.path[0] = step{key: key}
		if err := d.member(key); err != nil {
			return err
		}
		switch s.space() {
		case ',':
			s.i++
		case '}':
			s.i++
			s.path, s.keys = s.path[:0], s.keys[:base]
			return nil
		default:
			return s.syntax("expected , or } after a member")
		}
	}
}

func (d *Decoder) member(key []byte) error {
	e := &d.event
	switch string(key) {
	case "id":
		return d.textField("id", fieldID, &e.ID)
	case "session_id":
		return d.textField("session_id", fieldSession, &e.SessionID)
	case "category":
		return d.textField("category", fieldCategory, &e.Category)
	case "name":
		return d.textField("name", fieldName, &e.Name)
	case "data":
		return d.dataField()
	case "timestamp":
		return d.timestampField()
	case "sequence":
		return d.sequenceField()
	}
	if len(d.violations) < MaxViolations {
		d.violations = append(d.violations, Violation{
			Pointer: d.s.pointer(nil), Code: UnknownField,
			Message: "an event has no such field; it has id, session_id, category, name, data, timestamp and sequence, and what is yours belongs into data",
		})
	}
	return d.s.value()
}

// stringField scans the value of a field that must be a string. ok is false
// when it is something else, which then has been reported.
func (d *Decoder) stringField(field string, bit fieldSet) (t token, ok bool, err error) {
	d.fields |= bit
	if s := &d.s; s.i < len(s.b) && s.b[s.i] == '"' {
		t, err = s.text()
		return t, err == nil, err
	}
	d.violate(field, WrongType, field+" must be a string")
	return token{}, false, d.s.value()
}

func (d *Decoder) textField(field string, bit fieldSet, to *string) error {
	t, ok, err := d.stringField(field, bit)
	if !ok {
		return err
	}
	text := t.resolve()
	if n := len(text); n == 0 {
		d.violate(field, Required, field+" must not be empty")
	} else if n > MaxTextChars {
		if n = utf8.RuneCount(text); n > MaxTextChars {
			d.violate(field, TooLong, field+" has "+strconv.Itoa(n)+" characters; at most "+strconv.Itoa(MaxTextChars)+" are taken")
			return nil
		}
	}
	*to = view(text)
	return nil
}

// view is b as a string without a copy; b must not change while the string lives.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (d *Decoder) dataField() error {
	d.fields |= fieldData
	s := &d.s
	start := s.i
	object := s.i < len(s.b) && s.b[s.i] == '{'
	if err := s.value(); err != nil {
		return err
	}
	if !object {
		d.violate("data", WrongType, "data must be a JSON object")
	}
	d.event.Data = s.b[start:s.i:s.i]
	return nil
}

func (d *Decoder) timestampField() error {
	t, ok, err := d.stringField("timestamp", fieldTimestamp)
	if !ok {
		return err
	}
	at, ok := parseTimestamp(t.resolve())
	if !ok {
		d.violate("timestamp", InvalidTimestamp,
			"timestamp must be an RFC 3339 time such as 2021-01-01T09:15:27.243860Z, or YYYY-MM-DD HH:MM:SS[.ffffff] in UTC")
		return nil
	}
	d.event.Timestamp = at
	if limit := d.rules.Now + d.rules.Tolerance; at > limit {
		d.violate("timestamp", TimestampInFuture, "timestamp "+at.String()+" lies "+
			(at-d.rules.Now).seconds()+" s ahead of the server's clock; at most "+d.rules.Tolerance.seconds()+" s are taken")
	}
	return nil
}

// seconds is the number of whole seconds of a span.
func (m Micros) seconds() string { return strconv.FormatInt(int64(m)/1e6, 10) }

func (d *Decoder) sequenceField() error {
	d.fields |= fieldSequence
	s := &d.s
	start := s.i
	if err := s.value(); err != nil {
		return err
	}
	n, err := strconv.ParseInt(view(s.b[start:s.i]), 10, 64)
	if err != nil || n < 0 || s.b[start] == '-' {
		d.violate("sequence", WrongType, "sequence must be an integer from 0 to 9223372036854775807")
		return nil
	}
	d.event.Sequence = n
	return nil
}
