package access

import (
	"errors"
	"strings"

	"github.com/the-eye/eye/internal/event"
)

// Pattern selects event types. It is written category/name, where either part
// may be * for any. Inside a part, / is written %2F, * is written %2A, and % may
// be written %25.
type Pattern struct {
	category, name string // "" for any
}

// wildcard is how any category or name is written.
const wildcard = "*"

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	category, name, err := splitType(text)
	if err != nil {
		return Pattern{}, err
	}
	var p Pattern
	if p.category, err = patternPart(category); err != nil {
		return Pattern{}, err
	}
	if p.name, err = patternPart(name); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

func patternPart(text string) (string, error) {
	if text == wildcard {
		return "", nil
	}
	if strings.Contains(text, wildcard) {
		return "", errors.New("* stands for a whole category or a whole name; a * in the text itself is written %2A")
	}
	return unescapePart(text), nil
}

// ParseType reads one event type, written as a Pattern without wildcards.
func ParseType(text string) (event.Type, error) {
	category, name, err := splitType(text)
	if err != nil {
		return event.Type{}, err
	}
	return event.Type{Category: unescapePart(category), Name: unescapePart(name)}, nil
}

func splitType(text string) (category, name string, err error) {
	category, name, ok := strings.Cut(text, "/")
	switch {
	case !ok || category == "" || name == "":
		return "", "", errors.New("an event type is written category/name")
	case strings.Contains(name, "/"):
		return "", "", errors.New("an event type is written category/name with one /; a / in the text itself is written %2F")
	}
	return category, name, nil
}

var partUnescaper = strings.NewReplacer("%2F", "/", "%2f", "/", "%2A", "*", "%2a", "*", "%25", "%")

func unescapePart(text string) string { return partUnescaper.Replace(text) }

var partEscaper = strings.NewReplacer("/", "%2F", "*", "%2A", "%", "%25")

// String is the pattern as ParsePattern reads it.
func (p Pattern) String() string { return patternText(p.category) + "/" + patternText(p.name) }

func patternText(part string) string {
	if part == "" {
		return wildcard
	}
	return partEscaper.Replace(part)
}

// Matches tells whether the pattern selects t.
func (p Pattern) Matches(t event.Type) bool {
	return (p.category == "" || p.category == t.Category) && (p.name == "" || p.name == t.Name)
}

// MarshalText is String.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePattern.
func (p *Pattern) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePattern(string(b))
	return err
}
