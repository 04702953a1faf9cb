package drill_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// composer makes what one worker sends. Nothing of it is shared.
type composer struct {
	book     *book
	rand     *rand.Rand
	name     string   // unique: ids and sessions are made of it
	sessions []string // of this round, shared by all workers and applications
	senders  []*sender
	count    int
	start    event.Micros // of the drill
}

var kinds = []event.Type{
	{Category: "page", Name: "view"}, {Category: "page interaction", Name: "cta click"},
	{Category: "order", Name: "created"}, {Category: "zahlung", Name: "überwiesen"},
}

// request makes a request: one event, or a batch of up to 200.
func (c *composer) request() *request {
	q := &request{sender: c.senders[c.rand.IntN(len(c.senders))]}
	if c.rand.IntN(40) == 0 {
		return c.broken(q)
	}
	n := 1
	if q.batch = c.rand.IntN(5) < 2; q.batch {
		n = 1 + c.rand.IntN(1<<c.rand.IntN(9))
		n = min(n, 200)
	}
	texts := make([]string, 0, n)
	for range n {
		p, text := c.part(q)
		q.parts = append(q.parts, p)
		texts = append(texts, text)
		if len(texts) < n && c.rand.IntN(40) == 0 { // twice in one batch
			q.parts, texts = append(q.parts, p), append(texts, text)
		}
	}
	q.ndjson = q.batch && c.rand.IntN(2) == 0
	switch {
	case !q.batch:
		q.body = []byte(texts[0])
	case q.ndjson:
		q.body = []byte(strings.Join(texts, "\n"))
	default:
		q.body = []byte("[" + strings.Join(texts, ",\n ") + "]")
	}
	switch c.rand.IntN(12) {
	case 0:
		q.prefer = "wait=5"
	case 1:
		q.prefer = "return=representation"
	}
	return q
}

// part makes one record: mostly a new event, sometimes one that was sent before,
// with the same content or another, and sometimes a bad one. What is sent twice
// is an event; what is refused is unique.
func (c *composer) part(q *request) (part, string) {
	switch n := c.rand.IntN(100); {
	case n < 5:
		text := c.bad()
		e := &entry{application: q.sender.id, original: text}
		c.book.add(e)
		return part{entry: e}, text
	case n < 15:
		old := c.book.old(q.sender, c.rand)
		if old == nil {
			break
		}
		if c.rand.IntN(4) == 0 { // the same id for something else
			changed := *old.content
			c.count++
			changed.data = fmt.Sprintf(`{"changed":"%s-%d"}`, c.name, c.count)
			changed.wire = c.wire(old.entry.id, &changed)
			return part{old.entry, &changed}, changed.wire
		}
		return *old, old.content.wire
	}
	e, content := c.event(q.sender)
	c.book.add(e)
	return part{e, content}, content.wire
}

// event makes a new event in one of the sessions.
func (c *composer) event(s *sender) (*entry, *content) {
	c.count++
	k := kinds[c.rand.IntN(len(kinds))]
	v := &content{session: c.sessions[c.rand.IntN(len(c.sessions))], category: k.Category, name: k.Name, sequence: event.NoSequence}
	// A handful of distinct moments, so that many events share theirs, most of
	// them a little ago, some long ago.
	v.timestamp = c.start - event.Micros(c.rand.IntN(50))*1_000_003
	if c.rand.IntN(8) == 0 {
		v.timestamp -= event.Micros(c.rand.IntN(30*24)) * event.Micros(time.Hour/time.Microsecond)
	}
	if c.rand.IntN(2) == 0 {
		v.sequence = int64(c.rand.IntN(4))
	}
	v.data = fmt.Sprintf(`{"by":"%s-%d", "amount":%d.%02d,"Größe":"\u00fc/%s","n":[1e2,-0.0,1.50,null]}`,
		c.name, c.count, c.rand.IntN(1000), c.rand.IntN(100), strings.Repeat("x", c.rand.IntN(200)))
	// Two applications may use the same id for two events.
	e := &entry{application: s.id, id: fmt.Sprintf("%s-%d", c.name, c.count), session: v.session}
	v.wire = c.wire(e.id, v)
	return e, v
}

// wire writes the event in one of the ways that mean the same.
func (c *composer) wire(id string, v *content) string {
	var at string
	switch t := v.timestamp.Time(); c.rand.IntN(3) {
	case 0:
		at = t.Format("2006-01-02 15:04:05.000000")
	case 1:
		at = t.In(time.FixedZone("", 2*3600)).Format("2006-01-02T15:04:05.000000000-07:00")
	default:
		at = v.timestamp.String()
	}
	sequence := ""
	if v.sequence != event.NoSequence {
		sequence = fmt.Sprintf(`,"sequence":%d`, v.sequence)
	}
	return fmt.Sprintf(`{"id":%q,"session_id":%q,"category":%q,"name":%q,"data":%s,"timestamp":%q%s}`,
		id, v.session, v.category, v.name, v.data, at, sequence)
}

// bad makes an event that will be refused.
func (c *composer) bad() string {
	c.count++
	id := fmt.Sprintf("%s-bad-%d", c.name, c.count)
	switch c.rand.IntN(4) {
	case 0:
		return fmt.Sprintf(`{"id":%q,"session_id":"s","category":"page","name":"view","timestamp":"2021-01-01T00:00:00Z"}`, id)
	case 1:
		return fmt.Sprintf(`{"id":%q,"session_id":"s","category":"page","name":"view","data":{},"timestamp":"9021-01-01T00:00:00Z"}`, id)
	case 2:
		return fmt.Sprintf(`{"id":%q,"session_id":"s","category":"page","name":"view","data":{},"user":1,"timestamp":"2021-01-01T00:00:00Z"}`, id)
	default:
		return fmt.Sprintf(`{"id":%q,"data":"text"}`, id)
	}
}

// broken makes a request whose body is refused as a whole.
func (c *composer) broken(q *request) *request {
	c.count++
	body := fmt.Sprintf(`{"id":"%s-broken-%d","session_id":"s",`, c.name, c.count)
	if c.rand.IntN(2) == 0 {
		body += "\"category\":\"\xff\xfe\"}" // no UTF-8
	}
	q.body = []byte(body)
	e := &entry{application: q.sender.id, original: body}
	c.book.add(e)
	q.parts = []part{{entry: e}}
	return q
}

// mediaType of the request.
func (q *request) mediaType() string {
	if q.ndjson {
		return "application/x-ndjson"
	}
	return "application/json"
}

// refusedOnly tells whether nothing of the request can be accepted.
func (q *request) refusedOnly() bool {
	for _, p := range q.parts {
		if p.content != nil {
			return false
		}
	}
	return true
}

func (q *request) String() string {
	return fmt.Sprintf("request of %s with %d records: %.120s", q.sender.id, len(q.parts), bytes.ReplaceAll(q.body, []byte("\n"), []byte(" ")))
}
