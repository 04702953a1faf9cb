package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Filter selects events. Zero fields do not filter.
type Filter struct {
	Application string
	SessionID   string
	Category    string
	Name        string
	From, To    time.Time         // From <= timestamp < To
	Data        map[string]string // payload values by dotted path, e.g. "cart.items.0.sku": "A-1"

	Descending bool // newest first; Tail ignores it
	PageSize   int  // events a request, up to 1,000; 0: 200
}

// query is the filter as the server reads it.
func (f Filter) query() url.Values {
	q := url.Values{}
	set(q, "application", f.Application)
	set(q, "session_id", f.SessionID)
	set(q, "category", f.Category)
	set(q, "name", f.Name)
	setTime(q, "from", f.From)
	setTime(q, "to", f.To)
	for path, value := range f.Data {
		q.Set("data."+path, value)
	}
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(timeLayout))
	}
}

// Events lists the events that match, in the order of time. The iteration ends
// with an error if one occurs. It reads page by page, and events that arrive
// meanwhile neither hide nor repeat others.
func (c *Client) Events(ctx context.Context, f Filter) iter.Seq2[StoredEvent, error] {
	q := f.query()
	if f.Descending {
		q.Set("order", "desc")
	}
	return pages[StoredEvent](ctx, c, "/v1/events", q, f.PageSize)
}

// pages iterates over the items of a list.
func pages[T any](ctx context.Context, c *Client, path string, q url.Values, size int) iter.Seq2[T, error] {
	if size <= 0 {
		size = 200
	}
	return func(yield func(T, error) bool) {
		q := cloned(q) // so that the iterator can be used twice
		q.Set("limit", strconv.Itoa(size))
		for {
			var page struct {
				Items []T     `json:"items"`
				Next  *string `json:"next"`
			}
			if err := c.do(ctx, call{method: http.MethodGet, path: path, query: q}, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == nil || *page.Next == "" {
				return
			}
			q.Set("cursor", *page.Next)
		}
	}
}

func cloned(q url.Values) url.Values {
	c := make(url.Values, len(q)+2)
	for name, values := range q {
		c[name] = values
	}
	return c
}

// get reads one object.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.do(ctx, call{method: http.MethodGet, path: path}, &v)
	return v, err
}

// Event reads one event.
func (c *Client) Event(ctx context.Context, application, id string) (StoredEvent, error) {
	return get[StoredEvent](ctx, c, "/v1/events/"+url.PathEscape(application)+"/"+url.PathEscape(id))
}

// Session is a summary of all events with one session id.
type Session struct {
	ID             string    `json:"session_id"`
	FirstTimestamp time.Time `json:"first_timestamp"`
	LastTimestamp  time.Time `json:"last_timestamp"`
	Events         int64     `json:"events"`
	Applications   []string  `json:"applications"`
}

// SessionFilter selects sessions. Zero fields do not filter.
type SessionFilter struct {
	Application string    // with events of that application
	From, To    time.Time // with events in From <= timestamp < To
	Category    string    // Category and Name together: with an event of that type
	Name        string
	PageSize    int // sessions a request, up to 1,000; 0: 200
}

// typePart writes a category or a name into a parameter that holds both.
var typePart = strings.NewReplacer("/", "%2F", "*", "%2A", "%", "%25")

// Sessions lists sessions, newest first. The iteration ends with an error if
// one occurs.
func (c *Client) Sessions(ctx context.Context, f SessionFilter) iter.Seq2[Session, error] {
	q := url.Values{}
	set(q, "application", f.Application)
	setTime(q, "from", f.From)
	setTime(q, "to", f.To)
	if f.Category != "" || f.Name != "" {
		q.Set("contains", typePart.Replace(f.Category)+"/"+typePart.Replace(f.Name))
	}
	return pages[Session](ctx, c, "/v1/sessions", q, f.PageSize)
}

// Session reads the summary of one session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	return get[Session](ctx, c, "/v1/sessions/"+url.PathEscape(id))
}

// SessionEvents lists the events of one session in their order. The iteration
// ends with an error if one occurs.
func (c *Client) SessionEvents(ctx context.Context, id string) iter.Seq2[StoredEvent, error] {
	return pages[StoredEvent](ctx, c, "/v1/sessions/"+url.PathEscape(id)+"/events", nil, 0)
}

// Receipt is what became of something that was sent.
type Receipt struct {
	Receipt     string       `json:"receipt"`
	Disposition string       `json:"disposition"` // pending, stored, duplicate, quarantined or deleted
	Event       *StoredEvent `json:"event"`       // stored: the event; duplicate: the one that was first
	Violations  []Violation  `json:"violations"`
}

// Receipt asks what became of something that was sent.
func (c *Client) Receipt(ctx context.Context, receipt string) (Receipt, error) {
	return get[Receipt](ctx, c, "/v1/receipts/"+url.PathEscape(receipt))
}

// QuarantineFilter selects what lies in quarantine. Zero fields do not filter.
type QuarantineFilter struct {
	Application string
	Category    string
	Name        string
	Code        string    // with a violation of that code
	From, To    time.Time // From <= received < To
	PageSize    int       // items a request, up to 1,000; 0: 200
}

// Quarantined is an event that was refused.
type Quarantined struct {
	Receipt     string
	Application string
	ReceivedAt  time.Time
	Category    string // Category and Name as far as they could be read
	Name        string
	Violations  []Violation
	Original    []byte // the bytes as sent
}

// UnmarshalJSON reads the original from whichever member has it.
func (q *Quarantined) UnmarshalJSON(b []byte) error {
	var v struct {
		Receipt        string      `json:"receipt"`
		Application    string      `json:"application"`
		ReceivedAt     time.Time   `json:"received_at"`
		Category       string      `json:"category"`
		Name           string      `json:"name"`
		Violations     []Violation `json:"violations"`
		Original       string      `json:"original"`
		OriginalBase64 *string     `json:"original_base64"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*q = Quarantined{v.Receipt, v.Application, v.ReceivedAt, v.Category, v.Name, v.Violations, []byte(v.Original)}
	if v.OriginalBase64 != nil {
		original, err := base64.StdEncoding.DecodeString(*v.OriginalBase64)
		if err != nil {
			return fmt.Errorf("original_base64: %w", err)
		}
		q.Original = original
	}
	return nil
}

// Quarantine lists what lies in quarantine, newest first; the scope quarantine
// is needed. The iteration ends with an error if one occurs.
func (c *Client) Quarantine(ctx context.Context, f QuarantineFilter) iter.Seq2[Quarantined, error] {
	q := url.Values{}
	set(q, "application", f.Application)
	set(q, "category", f.Category)
	set(q, "name", f.Name)
	set(q, "code", f.Code)
	setTime(q, "from", f.From)
	setTime(q, "to", f.To)
	return pages[Quarantined](ctx, c, "/v1/quarantine", q, f.PageSize)
}
