package event

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A scanner reads strict JSON (RFC 8259 and I-JSON, RFC 7493) in one pass over
// bytes that it never copies. It tells two kinds of wrong apart:
//
//   - a flaw is something inside a value whose end can still be found: a
//     duplicate key, invalid UTF-8, nesting or a number beyond the limits. It
//     becomes a violation of the event it lies in, and scanning goes on.
//   - a syntax error leaves nobody knowing where the event ends. It ends the body.
type scanner struct {
	b    []byte
	i    int
	path []step // where we are, for pointers; len(path) is the depth

	keys  [][]byte // the keys of all open objects, innermost last
	flaws []Violation
	bound int // where the event is too large, so that nothing in it matters any more
}

// step is one level of the path: a member's key, or an array index when key is nil.
type step struct {
	key   []byte
	index int
}

// between is the step of an object whose next key is not yet known.
var between = step{index: -1}

// SyntaxError says where a body stops being JSON.
type SyntaxError struct {
	Offset  int    // in bytes from the start of the (decompressed) body
	Message string // what was found and what was expected
}

func (e *SyntaxError) Error() string {
	return e.Message + " at byte " + strconv.Itoa(e.Offset)
}

func (s *scanner) syntax(message string) error {
	if s.i >= len(s.b) {
		message = "the text ends too early: " + message
	}
	return &SyntaxError{s.i, message}
}

// flaw notes a violation at the present path, extended by key unless it is nil.
func (s *scanner) flaw(message string, key []byte) {
	if len(s.flaws) >= MaxViolations {
		return
	}
	s.flaws = append(s.flaws, Violation{Pointer: s.pointer(key), Code: InvalidJSON, Message: message})
}

// maxPointerBytes bounds a pointer: what lies deeper below longer keys is
// reported at the place above it that has a shorter one.
const maxPointerBytes = 1 << 10

// pointer is the present path as a JSON Pointer, extended by key unless it is nil.
func (s *scanner) pointer(key []byte) string {
	var p []byte
	add := func(st step) bool {
		switch {
		case len(p)+len(st.key) >= maxPointerBytes:
			return false
		case st.key != nil:
			p = appendToken(p, st.key)
		case st.index >= 0:
			p = strconv.AppendInt(append(p, '/'), int64(st.index), 10)
		}
		return true
	}
	for _, st := range s.path {
		if !add(st) {
			key = nil
			break
		}
	}
	if key != nil {
		add(step{key: key})
	}
	return string(bytes.ToValidUTF8(p, []byte("\uFFFD")))
}

// appendToken appends one reference token of a JSON Pointer (RFC 6901 §3).
func appendToken(p, key []byte) []byte {
	p = append(p, '/')
	for _, c := range key {
		switch c {
		case '~':
			p = append(p, "~0"...)
		case '/':
			p = append(p, "~1"...)
		default:
			p = append(p, c)
		}
	}
	return p
}

// space skips white space and returns the byte behind it, 0 at the end.
func (s *scanner) space() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// value scans any value; s.i is on its first byte.
func (s *scanner) value() error {
	if s.i >= len(s.b) {
		return s.syntax("expected a value")
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return s.number()
		}
		return s.syntax("expected a value")
	}
}

func (s *scanner) literal(word string) error {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.syntax("expected " + word)
	}
	s.i += len(word)
	return nil
}

// number scans a number and leaves its text alone.
func (s *scanner) number() error {
	start := s.i
	if s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i < len(s.b) && s.b[s.i] == '0':
		s.i++
	case s.digits():
	default:
		return s.syntax("expected a digit")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.syntax("expected a digit after the decimal point")
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.syntax("expected a digit in the exponent")
		}
	}
	if n := s.i - start; n > MaxNumberDigits {
		s.flaw("a number may have at most "+strconv.Itoa(MaxNumberDigits)+" characters; this one has "+strconv.Itoa(n), nil)
	}
	return nil
}

// digits skips digits and tells whether there was one.
func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > start
}

// token is a string as it stands between its quotes.
type token struct {
	raw     []byte
	escaped bool // raw has escapes to resolve
}

// text scans a string and reports invalid UTF-8 and lone surrogates as flaws.
func (s *scanner) text() (token, error) {
	s.i++ // the opening quote
	start := s.i
	escaped, ascii := false, true
	for {
		s.i = plain(s.b, s.i)
		if s.i >= len(s.b) {
			return token{}, s.syntax("expected the closing quote of a string")
		}
		switch c := s.b[s.i]; {
		case c == '"':
			t := token{s.b[start:s.i], escaped}
			s.i++
			if !ascii && !utf8.Valid(t.raw) {
				s.flaw("a string holds bytes that are no UTF-8", nil)
			}
			return t, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return token{}, err
			}
		case c < ' ':
			return token{}, s.syntax("a control character in a string must be escaped")
		default: // >= 0x80
			ascii = false
			s.i++
		}
	}
}

// plain returns the index of the first byte from i on that is a quote, a
// backslash, a control character or not ASCII. It looks at eight bytes at a time
// (after "Bit Twiddling Hacks", Sean Eron Anderson: zero byte in a word).
func plain(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		m := (w | (w - ones*' ') | (quote - ones) | (slash - ones)) & highs
		if m == 0 {
			continue
		}
		// The subtractions may borrow into bytes above a hit, never below it:
		// the lowest mark is a hit, or there is none and it was carried.
		return i + bits.TrailingZeros64(m)/8
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// escape scans one escape sequence; s.i is on the backslash.
func (s *scanner) escape() error {
	s.i++
	if s.i >= len(s.b) {
		return s.syntax("expected an escape character")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		r, ok := hex4(s.b[s.i+1:])
		if !ok {
			return s.syntax(`expected four hexadecimal digits after \u`)
		}
		s.i += 5
		if !utf16.IsSurrogate(r) {
			return nil
		}
		if rest := s.b[s.i:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := hex4(rest[2:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				s.i += 6
				return nil
			}
		}
		s.flaw("a string holds half a surrogate pair", nil)
		return nil
	}
	return s.syntax("unknown escape sequence")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// resolve is the string that the token stands for. Without escapes it is the
// token's own bytes. What is no character becomes U+FFFD.
func (t token) resolve() []byte {
	if !t.escaped {
		return t.raw
	}
	out := make([]byte, 0, len(t.raw))
	for i := 0; i < len(t.raw); {
		c := t.raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		c = t.raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(t.raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if rest := t.raw[i:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					low, _ = hex4(rest[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return out
}

// object scans an object; s.i is on the opening brace.
func (s *scanner) object() error {
	if len(s.path) >= MaxDepth {
		return s.tooDeep()
	}
	s.i++
	if s.space() == '}' {
		s.i++
		return nil
	}
	base := len(s.keys)
	s.path = append(s.path, between)
	var seen map[string]bool // of this object, once it has many keys
	for {
		s.path[len(s.path)-1] = between
		key, err := s.key()
		if err != nil {
			return err
		}
		seen = s.unique(base, seen, key)
		s.path[len(s.path)-1] = step{key: key}
		if err := s.value(); err != nil {
			return err
		}
		switch s.space() {
		case ',':
			s.i++
		case '}':
			s.i++
			s.path = s.path[:len(s.path)-1]
			s.keys = s.keys[:base]
			return nil
		default:
			return s.syntax("expected , or } after a member")
		}
	}
}

// key scans a member's key and the colon, up to the member's value. The key is
// never nil.
func (s *scanner) key() ([]byte, error) {
	if s.space() != '"' {
		return nil, s.syntax("expected a key in quotes")
	}
	t, err := s.text()
	if err != nil {
		return nil, err
	}
	if s.space() != ':' {
		return nil, s.syntax("expected : after a key")
	}
	s.i++
	s.space()
	if key := t.resolve(); key != nil {
		return key, nil
	}
	return []byte{}, nil
}

// manyKeys is where comparing a key with all before it gets slower than a map.
const manyKeys = 24

// unique notes key as one of the object whose keys start at base in s.keys, and
// reports it as a flaw when it was there already.
func (s *scanner) unique(base int, seen map[string]bool, key []byte) map[string]bool {
	if s.i > s.bound {
		return nil // a refusal that needs no more reasons, and no more memory
	}
	known := false
	switch open := s.keys[base:]; {
	case seen != nil:
		known = seen[string(key)]
	case len(open) < manyKeys:
		for _, k := range open {
			if string(k) == string(key) {
				known = true
				break
			}
		}
	default:
		seen = make(map[string]bool, 4*manyKeys)
		for _, k := range open {
			seen[string(k)] = true
		}
		known = seen[string(key)]
	}
	if known {
		s.path[len(s.path)-1] = between
		s.flaw("the key stands twice in one object", key)
		return seen
	}
	if seen != nil {
		seen[string(key)] = true
	} else {
		s.keys = append(s.keys, key)
	}
	return seen
}

// array scans an array; s.i is on the opening bracket.
func (s *scanner) array() error {
	if len(s.path) >= MaxDepth {
		return s.tooDeep()
	}
	s.i++
	if s.space() == ']' {
		s.i++
		return nil
	}
	s.path = append(s.path, step{})
	for n := 0; ; n++ {
		s.space()
		s.path[len(s.path)-1] = step{index: n}
		if err := s.value(); err != nil {
			return err
		}
		switch s.space() {
		case ',':
			s.i++
		case ']':
			s.i++
			s.path = s.path[:len(s.path)-1]
			return nil
		default:
			return s.syntax("expected , or ] after an element")
		}
	}
}

// tooDeep reports the nesting as a flaw and scans to the end of the value
// without recursion: one bit of memory for each level, whoever sent it.
func (s *scanner) tooDeep() error {
	s.flaw("nested deeper than "+strconv.Itoa(MaxDepth)+" levels", nil)
	keep := s.flaws
	defer func() { s.flaws = keep }() // what lies deeper needs no naming
	var objects bitStack
	for {
		// A value starts here.
		switch s.space() {
		case '{', '[':
			object := s.b[s.i] == '{'
			s.i++
			if c := s.space(); object && c == '}' || !object && c == ']' {
				s.i++
				break
			}
			objects.push(object)
			if object {
				if _, err := s.key(); err != nil {
					return err
				}
			}
			continue
		default:
			if err := s.value(); err != nil {
				return err
			}
		}
		// A value ended here: close what closes, until the next one starts.
		for next := false; !next; {
			if objects.n == 0 {
				return nil
			}
			object := objects.top()
			switch c := s.space(); {
			case c == ',':
				s.i++
				if object {
					if _, err := s.key(); err != nil {
						return err
					}
				}
				next = true
			case object && c == '}', !object && c == ']':
				s.i++
				objects.n--
			default:
				return s.syntax("expected , or the end of an array or object")
			}
		}
	}
}

// bitStack is a stack of booleans.
type bitStack struct {
	words []uint64
	n     int
}

func (t *bitStack) push(v bool) {
	if t.n == 64*len(t.words) {
		t.words = append(t.words, 0)
	}
	w, bit := &t.words[t.n/64], uint64(1)<<(t.n%64)
	if v {
		*w |= bit
	} else {
		*w &^= bit
	}
	t.n++
}

func (t *bitStack) top() bool { return t.words[(t.n-1)/64]>>((t.n-1)%64)&1 == 1 }
