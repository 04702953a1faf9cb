package store

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/event"
)

// Matches tells whether the filter selects e. Every engine gives this answer.
func (f *Filter) Matches(e *event.Event) bool {
	if f.Application != "" && f.Application != e.Application ||
		f.SessionID != "" && f.SessionID != e.SessionID ||
		f.Category != "" && f.Category != e.Category ||
		f.Name != "" && f.Name != e.Name ||
		f.From != 0 && e.Timestamp < f.From ||
		f.To != 0 && e.Timestamp >= f.To {
		return false
	}
	for _, p := range f.Data {
		if !p.holds(e.Data) {
			return false
		}
	}
	return true
}

// holds tells whether the value at the path in data is the one asked for.
func (p *PathEquals) holds(data []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for _, name := range p.Path {
		if !enter(d, name) {
			return false
		}
	}
	v, err := d.ReadValue()
	if err != nil {
		return false
	}
	switch v.Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, v)
		return err == nil && string(text) == p.Value
	case '{', '[':
		return false
	}
	return string(v) == p.Value
}

// enter moves d from the start of an object or array to the value of the member
// or element called name.
func enter(d *jsontext.Decoder, name string) bool {
	start, err := d.ReadToken()
	if err != nil {
		return false
	}
	switch start.Kind() {
	case '{':
		for d.PeekKind() == '"' {
			key, err := d.ReadToken()
			if err != nil {
				return false
			}
			if key.String() == name {
				return true
			}
			if d.SkipValue() != nil {
				return false
			}
		}
	case '[':
		index, err := strconv.Atoi(name)
		if err != nil || index < 0 || strconv.Itoa(index) != name {
			return false
		}
		for ; d.PeekKind() != ']' && d.PeekKind() != 0; index-- {
			if index == 0 {
				return true
			}
			if d.SkipValue() != nil {
				return false
			}
		}
	}
	return false
}
