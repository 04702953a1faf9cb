package clienttest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// compare is the order of events.
func (e *stored) compare(f *stored) int {
	sequence := func(e *stored) int64 {
		if e.Sequence == nil {
			return -1
		}
		return *e.Sequence
	}
	return cmp.Or(e.Timestamp.Compare(f.Timestamp.Time), cmp.Compare(sequence(e), sequence(f)), cmp.Compare(e.order, f.order))
}

// ordered are the events that who may read and that match, with their places.
// s.mu is held.
func (s *Server) ordered(who principal, q url.Values) []*stored {
	all := slices.SortedFunc(slices.Values(s.events), (*stored).compare)
	places := map[string]int{}
	var found []*stored
	for _, e := range all {
		places[e.SessionID]++
		if !matches(e, who, q) {
			continue
		}
		e := *e
		e.Position = places[e.SessionID]
		found = append(found, &e)
	}
	if q.Get("order") == "desc" {
		slices.Reverse(found)
	}
	return found
}

// matches tells whether who may read e and the filter selects it.
func matches(e *stored, who principal, q url.Values) bool {
	if e.Application != who.application && !slices.Contains(who.scopes, "events:read:all") {
		return false
	}
	for name, values := range q {
		want := values[0]
		got := want
		switch path, isData := strings.CutPrefix(name, "data."); {
		case isData:
			got = lookUp(e.Data, path)
		case name == "application":
			got = e.Application
		case name == "session_id":
			got = e.SessionID
		case name == "category":
			got = e.Category
		case name == "name":
			got = e.Name
		case name == "from":
			if t, err := parseTime(want); err != nil || e.Timestamp.Before(t.Time) {
				return false
			}
		case name == "to":
			if t, err := parseTime(want); err != nil || !e.Timestamp.Before(t.Time) {
				return false
			}
		}
		if got != want {
			return false
		}
	}
	return true
}

// lookUp is the text at a dotted path of a payload.
func lookUp(data json.RawMessage, path string) string {
	for step := range strings.SplitSeq(path, ".") {
		var members map[string]json.RawMessage
		var items []json.RawMessage
		if json.Unmarshal(data, &members) == nil {
			data = members[step]
		} else if i, err := strconv.Atoi(step); err == nil && json.Unmarshal(data, &items) == nil && i < len(items) {
			data = items[i]
		} else {
			return ""
		}
	}
	var text string
	if json.Unmarshal(data, &text) == nil {
		return text
	}
	return string(bytes.TrimSpace(data))
}

// page answers with a part of a list. The cursor is the number of items gone
// by, so it holds only while nothing arrives before it.
func page[T any](w http.ResponseWriter, q url.Values, all []T) {
	from, _ := strconv.Atoi(q.Get("cursor"))
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "100"))
	if err != nil || limit < 1 || limit > 1000 || from > len(all) {
		problem(w, http.StatusBadRequest, "Bad page", "limit is 1 to 1000.", nil)
		return
	}
	items := all[from:min(from+limit, len(all))]
	answer := map[string]any{"items": append([]T{}, items...), "next": nil}
	if from+limit < len(all) {
		answer["next"] = strconv.Itoa(from + limit)
	}
	reply(w, http.StatusOK, answer)
}

func (s *Server) getEvents(w http.ResponseWriter, r *http.Request, who principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page(w, r.URL.Query(), s.ordered(who, r.URL.Query()))
}

func (s *Server) getEvent(w http.ResponseWriter, r *http.Request, who principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ordered(who, nil) {
		if e.Application == r.PathValue("application") && e.ID == r.PathValue("id") {
			reply(w, http.StatusOK, e)
			return
		}
	}
	problem(w, http.StatusNotFound, "Not found", "There is no such event.", nil)
}

// summary is a session as the API shows it.
type summary struct {
	ID             string   `json:"session_id"`
	FirstTimestamp micros   `json:"first_timestamp"`
	LastTimestamp  micros   `json:"last_timestamp"`
	Events         int      `json:"events"`
	Applications   []string `json:"applications"`
}

// sessions summarises events, newest session first.
func sessions(events []*stored) []*summary {
	byID := map[string]*summary{}
	var all []*summary
	for _, e := range events {
		one := byID[e.SessionID]
		if one == nil {
			one = &summary{ID: e.SessionID, FirstTimestamp: e.Timestamp}
			byID[e.SessionID] = one
			all = append(all, one)
		}
		one.LastTimestamp = e.Timestamp
		one.Events++
		if !slices.Contains(one.Applications, e.Application) {
			one.Applications = append(one.Applications, e.Application)
			slices.Sort(one.Applications)
		}
	}
	slices.SortFunc(all, func(a, b *summary) int {
		return cmp.Or(b.FirstTimestamp.Compare(a.FirstTimestamp.Time), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// unescape reads one half of category/name.
var unescape = strings.NewReplacer("%2F", "/", "%2A", "*", "%25", "%")

func (s *Server) getSessions(w http.ResponseWriter, r *http.Request, who principal) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.ordered(who, q)
	if category, name, ok := strings.Cut(q.Get("contains"), "/"); ok {
		with := map[string]bool{}
		for _, e := range events {
			with[e.SessionID] = with[e.SessionID] || e.Category == unescape.Replace(category) && e.Name == unescape.Replace(name)
		}
		events = slices.DeleteFunc(events, func(e *stored) bool { return !with[e.SessionID] })
	}
	page(w, q, sessions(events))
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request, who principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := sessions(s.ordered(who, url.Values{"session_id": {r.PathValue("id")}}))
	if len(found) == 0 {
		problem(w, http.StatusNotFound, "Not found", "There is no such session.", nil)
		return
	}
	reply(w, http.StatusOK, found[0])
}

func (s *Server) getSessionEvents(w http.ResponseWriter, r *http.Request, who principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page(w, r.URL.Query(), s.ordered(who, url.Values{"session_id": {r.PathValue("id")}}))
}

func (s *Server) getReceipt(w http.ResponseWriter, r *http.Request, who principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.receipts[r.PathValue("receipt")]
	if o == nil || o.application != who.application && !slices.Contains(who.scopes, "events:read:all") {
		problem(w, http.StatusNotFound, "Not found", "There is no such receipt.", nil)
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"receipt": r.PathValue("receipt"), "disposition": o.disposition, "event": o.event,
		"violations": append([]violation{}, o.violations...),
	})
}

func (s *Server) getQuarantine(w http.ResponseWriter, r *http.Request, who principal) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*refused
	for _, item := range slices.Backward(s.quarantine) {
		same := func(name, got string) bool { return q.Get(name) == "" || q.Get(name) == got }
		code := q.Get("code") == "" || slices.ContainsFunc(item.Violations, func(v violation) bool { return v.Code == q.Get("code") })
		if code && same("application", item.Application) && same("category", item.Category) && same("name", item.Name) {
			found = append(found, item)
		}
	}
	page(w, q, found)
}
