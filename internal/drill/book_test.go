package drill_test

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/the-eye/eye/internal/event"
)

// book remembers what was sent and what was answered: the promises to check.
type book struct {
	receipts *event.Receipts

	mu        sync.Mutex
	events    map[event.Key]*entry   // guarded by mu, as all below
	order     []*entry               // as first sent
	bySession map[string][]*entry    //
	touched   map[string]bool        // sessions since the last check
	refused   map[string]*entry      // by the bytes as sent
	positions map[event.Position]any // that receipts were given for
	recent    []*attempt             // answered since the last check
	high      event.Position         // the highest that was acknowledged
	problems  []string               // promises broken in an answer
	count     counts
}

// counts is for the report.
type counts struct {
	requests, unanswered, unavailable int
	acknowledged, refused, waited     int
}

func newBook(receipts *event.Receipts) *book {
	return &book{
		receipts: receipts, events: make(map[event.Key]*entry), bySession: make(map[string][]*entry),
		touched: make(map[string]bool), refused: make(map[string]*entry), positions: make(map[event.Position]any),
	}
}

// entry is an event, or something that is to be refused, with every attempt to
// send it.
type entry struct {
	application string
	id          string // "" of what is to be refused
	session     string
	original    string // of what is to be refused: the bytes
	attempts    []*attempt
}

func (e *entry) String() string {
	if e.id == "" {
		return fmt.Sprintf("refused %s %.80q", e.application, e.original)
	}
	return e.application + "/" + e.id
}

// content is what one version of an event says. Another version under the same
// id is a conflict.
type content struct {
	session, category, name, data string
	timestamp                     event.Micros
	sequence                      int64
	wire                          string // as sent
}

// same tells whether two versions say the same; how is not compared.
func (c *content) same(d *content) bool {
	return c.session == d.session && c.category == d.category && c.name == d.name &&
		c.data == d.data && c.timestamp == d.timestamp && c.sequence == d.sequence
}

// attempt is one sending of an entry. Position is 0 while nobody knows whether
// it got in.
type attempt struct {
	entry    *entry
	content  *content // nil of what is to be refused
	position event.Position
	said     event.Disposition // that the sender waited for; "" when it did not
}

// part is one record of a request.
type part struct {
	entry   *entry
	content *content // nil of what is to be refused
}

// request can be sent several times.
type request struct {
	sender *sender
	body   []byte
	ndjson bool
	batch  bool
	prefer string
	parts  []part
}

// sender is an application.
type sender struct{ id, key string }

// add makes an entry for an event that has not been sent before.
func (b *book) add(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.id == "" {
		if b.refused[e.original] != nil {
			panic("drill: what is to be refused is unique: " + e.original)
		}
		b.refused[e.original] = e
		return
	}
	b.events[event.Key{Application: e.application, ID: e.id}] = e
	b.order = append(b.order, e)
	b.bySession[e.session] = append(b.bySession[e.session], e)
}

// old picks an event of the sender that was sent before, nil when luck has none.
func (b *book) old(sender *sender, r *rand.Rand) *part {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 8 {
		if len(b.order) == 0 {
			return nil
		}
		if e := b.order[r.IntN(len(b.order))]; e.application == sender.id && len(e.attempts) > 0 {
			return &part{e, e.attempts[0].content}
		}
	}
	return nil
}

// sending notes that q is about to be sent, and returns its attempts and the
// position behind which all of them must land.
func (b *book) sending(q *request) ([]*attempt, event.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	attempts := make([]*attempt, len(q.parts))
	for i, p := range q.parts {
		attempts[i] = &attempt{entry: p.entry, content: p.content}
		p.entry.attempts = append(p.entry.attempts, attempts[i])
		if p.content != nil {
			b.touched[p.content.session] = true
		}
	}
	b.count.requests++
	return attempts, b.high
}

// acknowledged notes that attempts lie at first and behind it.
func (b *book) acknowledged(attempts []*attempt, first, floor event.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first <= floor {
		b.problemf("a request was put at position %d although %d had been acknowledged before it was sent", first, floor)
	}
	for i, a := range attempts {
		p := first + event.Position(i)
		if other, taken := b.positions[p]; taken {
			b.problemf("position %d was acknowledged twice: for %v and for %v", p, other, a.entry)
		}
		b.positions[p] = a.entry
		a.position = p
		b.recent = append(b.recent, a)
		if a.content == nil {
			b.count.refused++
		} else {
			b.count.acknowledged++
		}
	}
	b.high = max(b.high, first+event.Position(len(attempts)-1))
}

// problemf notes a broken promise. b.mu is held.
func (b *book) problemf(format string, args ...any) {
	if len(b.problems) < 20 {
		b.problems = append(b.problems, fmt.Sprintf(format, args...))
	}
}

func (b *book) problem(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problemf(format, args...)
}

// settled forgets which sessions and receipts are still to be checked, and
// returns them.
func (b *book) settled() (sessions []string, attempts []*attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.touched {
		sessions = append(sessions, id)
	}
	clear(b.touched)
	attempts, b.recent = b.recent, nil
	return sessions, attempts
}

// acknowledged is the attempt with the lowest position that was acknowledged,
// nil when none was.
func (e *entry) acknowledged() (first *attempt) {
	for _, a := range e.attempts {
		if a.position != 0 && (first == nil || a.position < first.position) {
			first = a
		}
	}
	return first
}
