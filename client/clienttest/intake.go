package clienttest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// violation is one reason of a refusal.
type violation struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// stored is an event that a Server keeps.
type stored struct {
	ID        string          `json:"id"`
	SessionID string          `json:"session_id"`
	Category  string          `json:"category"`
	Name      string          `json:"name"`
	Data      json.RawMessage `json:"data"`
	Timestamp micros          `json:"timestamp"`
	Sequence  *int64          `json:"sequence,omitempty"`

	Application string `json:"application"`
	ReceivedAt  micros `json:"received_at"`
	Position    int    `json:"position,omitempty"`
	Receipt     string `json:"receipt"`

	order int // of arrival
}

// micros is an instant in the form of the contract.
type micros struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON stands before that of time.Time, which leaves zeros out.
func (m micros) MarshalJSON() ([]byte, error) {
	return m.UTC().AppendFormat(nil, `"`+timeLayout+`"`), nil
}

// parseTime reads a timestamp in either form of the contract.
func parseTime(s string) (micros, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return micros{t.UTC().Truncate(time.Microsecond)}, nil
		}
	}
	return micros{}, fmt.Errorf("%q is no timestamp", s)
}

// refused is what a Server has in quarantine.
type refused struct {
	Receipt     string      `json:"receipt"`
	Application string      `json:"application"`
	ReceivedAt  micros      `json:"received_at"`
	Category    string      `json:"category"`
	Name        string      `json:"name"`
	Violations  []violation `json:"violations"`
	Original    *string     `json:"original,omitempty"`
	Base64      []byte      `json:"original_base64,omitempty"`
}

// outcome is what a receipt stands for.
type outcome struct {
	application string
	disposition string
	event       *stored
	violations  []violation
}

func (s *Server) postEvents(w http.ResponseWriter, r *http.Request, who principal) {
	raw, err := decompress(r)
	if err != nil {
		problem(w, http.StatusUnsupportedMediaType, "Unsupported content coding", err.Error(), nil)
		return
	}
	originals, batch, err := split(r.Header.Get("Content-Type"), raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := micros{time.Now()}
	if err != nil {
		v := violation{Code: "invalid_json", Message: err.Error()}
		receipt := s.refuse(who, now, raw, nil, v)
		problem(w, http.StatusBadRequest, "The body holds no events", err.Error(), map[string]any{
			"violations": []violation{v}, "receipt": receipt,
		})
		return
	}

	prefer := strings.Join(r.Header.Values("Prefer"), ",")
	wait := strings.Contains(prefer, "wait=") && !strings.Contains(prefer, "wait=0")
	var results, errs []map[string]any
	for i, original := range originals {
		e, violations := check(original)
		entry := map[string]any{"index": i}
		if e.ID != "" {
			entry["id"] = e.ID
		}
		if len(violations) > 0 {
			entry["receipt"] = s.refuse(who, now, original, e, violations...)
			entry["status"] = "quarantined"
			refusal := map[string]any{"index": i, "receipt": entry["receipt"], "violations": violations}
			if e.ID != "" {
				refusal["id"] = e.ID
			}
			errs = append(errs, refusal)
		} else {
			disposition := s.store(who, now, e)
			entry["id"], entry["receipt"], entry["status"] = e.ID, e.Receipt, "accepted"
			if wait {
				entry["status"] = disposition
			}
		}
		results = append(results, entry)
	}
	close(s.changed)
	s.changed = make(chan struct{})

	status := http.StatusAccepted
	if wait {
		status = http.StatusOK
	}
	switch {
	case !batch && len(errs) == 1:
		delete(errs[0], "index")
		problem(w, http.StatusUnprocessableEntity, "The event was refused", "It lies in quarantine.", errs[0])
	case !batch:
		delete(results[0], "index")
		reply(w, status, results[0])
	default:
		answer := map[string]any{
			"accepted": len(originals) - len(errs), "rejected": len(errs), "errors": append([]map[string]any{}, errs...),
			"receipts": map[string]any{"first": results[0]["receipt"], "last": results[len(results)-1]["receipt"]},
		}
		if len(errs) == len(originals) {
			problem(w, http.StatusUnprocessableEntity, "No event was accepted", "They lie in quarantine.", answer)
			return
		}
		if wait || strings.Contains(prefer, "return=representation") {
			answer["results"] = results
		}
		reply(w, status, answer)
	}
}

// decompress reads the body as its Content-Encoding has it.
func decompress(r *http.Request) ([]byte, error) {
	body := io.Reader(r.Body)
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = z
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		body = z
	default:
		return nil, fmt.Errorf("%q is not understood", coding)
	}
	return io.ReadAll(body)
}

// split takes a body apart into events.
func split(contentType string, body []byte) (events []json.RawMessage, batch bool, err error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-ndjson", "application/jsonl":
		batch = true
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				events = append(events, line)
			}
		}
	case "application/json":
		if !json.Valid(body) {
			return nil, false, fmt.Errorf("the body is no JSON")
		}
		if batch = bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")); batch {
			err = json.Unmarshal(body, &events)
		} else {
			events = []json.RawMessage{body}
		}
	default:
		return nil, false, fmt.Errorf("the media type %q is not understood", contentType)
	}
	if err == nil && len(events) == 0 {
		err = fmt.Errorf("the batch is empty")
	}
	return events, batch, err
}

// check holds an event against the rules of the envelope.
func check(original []byte) (*stored, []violation) {
	e := &stored{}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(original, &members); err != nil {
		return e, []violation{{"", "invalid_json", "the event is no JSON object"}}
	}
	var vs []violation
	text := func(field string, into *string, required bool) {
		v, there := members[field]
		delete(members, field)
		switch n := 0; {
		case !there && required:
			vs = append(vs, violation{"/" + field, "required", field + " is required"})
		case !there:
		case json.Unmarshal(v, into) != nil:
			vs = append(vs, violation{"/" + field, "type", field + " must be a string"})
		default:
			if n = utf8.RuneCountInString(*into); n == 0 || n > 128 {
				vs = append(vs, violation{"/" + field, "too_long", field + " must have 1 to 128 characters"})
			}
		}
	}
	text("session_id", &e.SessionID, true)
	text("category", &e.Category, true)
	text("name", &e.Name, true)
	text("id", &e.ID, false)
	var at string
	text("timestamp", &at, true)
	if at != "" {
		var err error
		if e.Timestamp, err = parseTime(at); err != nil {
			vs = append(vs, violation{"/timestamp", "invalid_timestamp", err.Error()})
		}
	}
	if v, there := members["sequence"]; there {
		if json.Unmarshal(v, &e.Sequence) != nil || e.Sequence == nil || *e.Sequence < 0 {
			vs = append(vs, violation{"/sequence", "type", "sequence must be an integer from 0"})
		}
		delete(members, "sequence")
	}
	switch v, there := members["data"]; {
	case !there:
		vs = append(vs, violation{"/data", "required", "data is required"})
	case v[0] != '{':
		vs = append(vs, violation{"/data", "type", "data must be an object"})
	default:
		e.Data = v
	}
	delete(members, "data")
	for field := range members {
		vs = append(vs, violation{"/" + field, "unknown_field", field + " is no field of an event; put it into data"})
	}
	slices.SortFunc(vs, func(a, b violation) int { return strings.Compare(a.Pointer, b.Pointer) })
	return e, vs
}

// store keeps an event, or finds it a duplicate. s.mu is held.
func (s *Server) store(who principal, now micros, e *stored) (disposition string) {
	s.position++
	e.Receipt = "r" + strconv.Itoa(s.position)
	if e.ID == "" {
		e.ID = "made-" + e.Receipt
	}
	e.Application, e.ReceivedAt, e.order = who.application, now, s.position
	key := [2]string{e.Application, e.ID}
	if first := s.byKey[key]; first != nil {
		s.receipts[e.Receipt] = &outcome{application: who.application, disposition: "duplicate", event: first}
		return "duplicate"
	}
	s.events = append(s.events, e)
	s.byKey[key] = e
	s.receipts[e.Receipt] = &outcome{application: who.application, disposition: "stored", event: e}
	return "stored"
}

// refuse puts something into quarantine. s.mu is held.
func (s *Server) refuse(who principal, now micros, original []byte, e *stored, why ...violation) (receipt string) {
	s.position++
	q := &refused{Receipt: "r" + strconv.Itoa(s.position), Application: who.application, ReceivedAt: now, Violations: why}
	if e != nil {
		q.Category, q.Name = e.Category, e.Name
	}
	if utf8.Valid(original) {
		text := string(original)
		q.Original = &text
	} else {
		q.Base64 = original
	}
	s.quarantine = append(s.quarantine, q)
	s.receipts[q.Receipt] = &outcome{application: who.application, disposition: "quarantined", violations: why}
	return q.Receipt
}
