package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
	"github.com/the-eye/eye/internal/store"
)

// Bounds of what can be asked for.
const (
	defaultLimit   = 100
	maxLimit       = 1000
	maxPathFilters = 16
	maxValueChars  = 4096
)

// impossible is the code of a parameter or field that has the right type and a
// value that cannot be.
const impossible event.Code = "invalid"

// params reads the query of a request, strictly: what is unknown, repeated or
// impossible is a violation, whose pointer is /NAME. Reading goes on after a
// violation, so that check reports them all.
type params struct {
	values     url.Values
	seen       map[string]bool
	paged      bool // limit and cursor are known
	violations []event.Violation
}

func paramsOf(r *http.Request) (*params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &problem.Problem{
			Status: http.StatusBadRequest, Type: "invalid-parameter", Title: "Invalid parameter",
			Detail: "The query is not well-formed: in values, %, &, + and ; are written %25, %26, %2B and %3B.",
		}
	}
	return &params{values: values, seen: make(map[string]bool)}, nil
}

func (p *params) violate(name string, code event.Code, message string) {
	if len(p.violations) < event.MaxViolations {
		p.violations = append(p.violations, event.Violation{Pointer: pointerTo(name), Code: code, Message: message})
	}
}

var tokenEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// pointerTo is the JSON Pointer to a member.
func pointerTo(name string) string {
	return "/" + tokenEscaper.Replace(strings.ToValidUTF8(name, "\uFFFD"))
}

// one is the single value of a parameter, and whether it was given.
func (p *params) one(name string) (string, bool) {
	p.seen[name] = true
	values, ok := p.values[name]
	if !ok {
		return "", false
	}
	if len(values) > 1 {
		p.violate(name, impossible, name+" must be given once.")
		return "", false
	}
	if !utf8.ValidString(values[0]) {
		p.violate(name, impossible, name+" must be UTF-8.")
		return "", false
	}
	return values[0], true
}

// text reads a text of 1 to event.MaxTextChars characters, "" when not given.
func (p *params) text(name string) string {
	value, ok := p.one(name)
	if !ok {
		return ""
	}
	switch n := utf8.RuneCountInString(value); {
	case n == 0:
		p.violate(name, impossible, name+" must not be empty; leave it out to filter by nothing.")
	case n > event.MaxTextChars:
		p.violate(name, event.TooLong, fmt.Sprintf("%s must have at most %d characters; nothing longer exists.", name, event.MaxTextChars))
	}
	return value
}

// instant reads a timestamp, 0 when not given.
func (p *params) instant(name string) event.Micros {
	value, ok := p.one(name)
	if !ok {
		return 0
	}
	m, ok := event.ParseTimestamp(value)
	if !ok {
		message := name + " must be a timestamp such as 2021-01-01T09:15:27.243860Z, 2021-01-01T10:15:27+01:00 or 2021-01-01 09:15:27."
		if strings.Contains(value, " ") && strings.Contains(value, "T") {
			message += " In a query, + is written %2B."
		}
		p.violate(name, event.InvalidTimestamp, message)
	}
	return m
}

// period reads from (inclusive) and to (exclusive); 0 is open.
func (p *params) period() (from, to event.Micros) {
	from, to = p.instant("from"), p.instant("to")
	if p.values.Has("from") && p.values.Has("to") && from >= to && len(p.violations) == 0 {
		p.violate("to", impossible, "to must be after from: from is inclusive, to is exclusive.")
	}
	// 0 is also 1970-01-01T00:00:00Z. Nothing but the microsecond before it
	// tells a reader which of the two was meant.
	if p.values.Has("to") && to == 0 {
		to = -1
	}
	return from, to
}

// limit reads how many items a page may have; lists with a limit have a cursor.
func (p *params) limit() int {
	p.paged = true
	if len(p.values["cursor"]) > 1 {
		p.violate("cursor", impossible, "cursor must be given once.")
	}
	value, ok := p.one("limit")
	if !ok {
		return defaultLimit
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxLimit || value[0] == '+' {
		p.violate("limit", impossible, fmt.Sprintf("limit must be a whole number from 1 to %d.", maxLimit))
		return defaultLimit
	}
	return n
}

// descending reads order.
func (p *params) descending(otherwise bool) bool {
	value, ok := p.one("order")
	if !ok {
		return otherwise
	}
	if value != "asc" && value != "desc" {
		p.violate("order", impossible, "order must be asc or desc.")
	}
	return value == "desc"
}

// eventType reads an event type written category/name, nil when not given.
func (p *params) eventType(name string) *event.Type {
	value, ok := p.one(name)
	if !ok {
		return nil
	}
	t, err := access.ParseType(value)
	if err != nil {
		p.violate(name, impossible, name+": "+err.Error()+".")
		return nil
	}
	return &t
}

// paths reads every data.PATH=VALUE, ordered by path.
func (p *params) paths() []store.PathEquals {
	var paths []store.PathEquals
	for name := range p.values {
		dotted, ok := strings.CutPrefix(name, "data.")
		if !ok {
			continue
		}
		value, ok := p.one(name)
		if !ok {
			continue
		}
		path := strings.Split(dotted, ".")
		switch {
		case slices.Contains(path, ""):
			p.violate(name, impossible, "a payload path is written data.member.member, without empty members.")
		case len(path) > event.MaxDepth || utf8.RuneCountInString(dotted) > maxValueChars || !utf8.ValidString(dotted):
			p.violate(name, impossible, "the payload path is too deep or too long.")
		case utf8.RuneCountInString(value) > maxValueChars:
			p.violate(name, event.TooLong, fmt.Sprintf("a value to compare with must have at most %d characters.", maxValueChars))
		}
		paths = append(paths, store.PathEquals{Path: path, Value: value})
	}
	if len(paths) > maxPathFilters {
		p.violate("data", impossible, fmt.Sprintf("at most %d payload paths can be asked for at once.", maxPathFilters))
	}
	slices.SortFunc(paths, func(a, b store.PathEquals) int { return slices.Compare(a.Path, b.Path) })
	return paths
}

// filter reads the filters of events.
func (p *params) filter() store.Filter {
	f := store.Filter{
		Application: p.text("application"),
		SessionID:   p.text("session_id"),
		Category:    p.text("category"),
		Name:        p.text("name"),
		Data:        p.paths(),
	}
	f.From, f.To = p.period()
	return f
}

// check reports every violation, unknown parameters included. It comes after
// all other calls.
func (p *params) check() error {
	var unknown []string
	for name := range p.values {
		if !p.seen[name] && (name != "cursor" || !p.paged) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		p.violate(name, event.UnknownField, "There is no parameter "+strconv.Quote(name)+" here.")
	}
	if len(p.violations) == 0 {
		return nil
	}
	return &problem.Problem{
		Status: http.StatusBadRequest, Type: "invalid-parameter", Title: "Invalid parameter",
		Detail: p.violations[0].Message, Violations: p.violations,
	}
}
