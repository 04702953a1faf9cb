package access

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Scope is one thing that a principal may do. The texts are part of the HTTP
// contract.
type Scope string

// The scopes.
const (
	EventsWrite   Scope = "events:write"    // send events
	EventsRead    Scope = "events:read"     // read the events that the same application sent
	EventsReadAll Scope = "events:read:all" // read everybody's events; implies EventsRead
	SQL           Scope = "sql"             // ask in SQL, which sees everything; implies EventsReadAll
	Quarantine    Scope = "quarantine"      // see, replay and discard what was refused
	TypesRead     Scope = "types:read"      // see event types and their schemas
	TypesWrite    Scope = "types:write"     // change event types and their schemas; implies TypesRead
	Admin         Scope = "admin"           // manage applications and credentials
)

// Scopes is a set of scopes. The zero value is the empty set.
type Scopes uint16

// all lists every scope; a scope's index is its bit in Scopes, so new ones go
// to the end.
var all = [...]Scope{EventsWrite, EventsRead, EventsReadAll, SQL, Quarantine, TypesRead, TypesWrite, Admin}

// AllScopes is the set of every scope.
const AllScopes Scopes = 1<<len(all) - 1

// bit is the set of only s; 0 when s is no scope.
func (s Scope) bit() Scopes {
	switch s {
	case EventsWrite:
		return 1 << 0
	case EventsRead:
		return 1 << 1
	case EventsReadAll:
		return 1 << 2
	case SQL:
		return 1 << 3
	case Quarantine:
		return 1 << 4
	case TypesRead:
		return 1 << 5
	case TypesWrite:
		return 1 << 6
	case Admin:
		return 1 << 7
	}
	return 0
}

// ScopesOf is the set of the given scopes. It panics on a text that is no
// scope; use ParseScopes for what people sent.
func ScopesOf(scopes ...Scope) Scopes {
	var set Scopes
	for _, s := range scopes {
		b := s.bit()
		if b == 0 {
			panic("access: no such scope: " + string(s))
		}
		set |= b
	}
	return set
}

// ParseScopes is the set of the scopes with the given texts.
func ParseScopes(texts []string) (Scopes, error) {
	var set Scopes
	for _, t := range texts {
		b := Scope(t).bit()
		if b == 0 {
			return 0, fmt.Errorf("no such scope %q; there are %s", t, strings.Join(AllScopes.Strings(), ", "))
		}
		set |= b
	}
	return set, nil
}

// Has tells whether s is in the set itself; see Granted for what the set allows.
func (s Scopes) Has(scope Scope) bool {
	b := scope.bit()
	return b != 0 && s&b == b
}

// Granted is the set with everything that its scopes imply.
func (s Scopes) Granted() Scopes {
	if s.Has(SQL) {
		s |= EventsReadAll.bit()
	}
	if s.Has(EventsReadAll) {
		s |= EventsRead.bit()
	}
	if s.Has(TypesWrite) {
		s |= TypesRead.bit()
	}
	return s
}

// Within tells whether every scope of s is granted by limit.
func (s Scopes) Within(limit Scopes) bool { return s&^limit.Granted() == 0 }

// List is the set as scopes, always in the same order.
func (s Scopes) List() []Scope {
	list := make([]Scope, 0, len(all))
	for i, scope := range all {
		if s&(1<<i) != 0 {
			list = append(list, scope)
		}
	}
	return list
}

// Strings is List as texts.
func (s Scopes) Strings() []string {
	list := make([]string, 0, len(all))
	for _, scope := range s.List() {
		list = append(list, string(scope))
	}
	return list
}

// String is the set as RFC 6749 writes it: texts with spaces between.
func (s Scopes) String() string { return strings.Join(s.Strings(), " ") }

// MarshalJSON writes the set as a list of texts.
func (s Scopes) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads a list of texts.
func (s *Scopes) UnmarshalJSON(b []byte) error {
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		return err
	}
	set, err := ParseScopes(texts)
	if err != nil {
		return err
	}
	*s = set
	return nil
}

// ListScopes is every scope, in order.
func ListScopes() []Scope { return slices.Clone(all[:]) }
