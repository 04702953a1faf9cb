package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// patience is how long an answer may take. The contract says 5 s.
const patience = 10 * time.Second

// maxAnswer bounds the body of an answer to a send.
const maxAnswer = 16 << 20

// target is where the load goes.
type target struct {
	hostport string
	key      string // credential of the application
}

// slot is one event of the request in flight.
type slot struct {
	n          uint64
	start, end int // in client.request
	kind       kind
}

type kind uint8

const (
	fresh  kind = iota // a good event, sent for the first time
	spoilt             // breaks a rule
	repeat             // an acknowledged event again
)

// remembered is how many acknowledged events a connection can repeat.
const remembered = 16

// client sends the events of one connection, one request at a time. It belongs
// to one goroutine.
type client struct {
	load   *load
	source *source
	book   *book

	conn     net.Conn // nil: not connected
	in       *bufio.Reader
	deadline time.Time // when conn gives up

	request  []byte // head and body, built anew for every request
	headLen  int
	lengthAt int // offset of the digits of Content-Length
	slots    []slot
	body     []byte // of the answer
	old      [][]byte
}

// lengthDigits is the room for Content-Length, filled up with space in front.
const lengthDigits = 8

func newClient(l *load, index int) *client {
	c := &client{load: l, source: newSource(l.ids, index), book: &l.books[index]}
	head := "POST /v1/events HTTP/1.1\r\nHost: " + l.target.hostport +
		"\r\nAuthorization: Bearer " + l.target.key +
		"\r\nContent-Type: application/json\r\nContent-Length: "
	c.lengthAt = len(head)
	c.request = append(c.request, head+"        \r\n\r\n"...)
	c.headLen = len(c.request)
	c.slots = make([]slot, 0, l.opts.Events)
	return c
}

// build makes the next request.
func (c *client) build(now time.Time) {
	o, rng := &c.load.opts, c.source.rng
	b := c.request[:c.headLen]
	c.slots = c.slots[:0]
	if o.Events > 1 {
		b = append(b, '[')
	}
	// What each event is to be comes first, since the book wants to know how
	// many are new before their names are given out.
	var news uint64
	for range o.Events {
		k := fresh
		if o.Bad > 0 || o.Duplicates > 0 {
			switch p := rng.Float64(); {
			case p < o.Bad:
				k = spoilt
			case p < o.Bad+o.Duplicates && len(c.old) > 0:
				k = repeat
			}
		}
		if k != repeat {
			news++
		}
		c.slots = append(c.slots, slot{kind: k})
	}
	at := event.Now(now)
	first := c.book.open(at, news)
	n := first
	for i := range c.slots {
		s := &c.slots[i]
		if i > 0 {
			b = append(b, ',')
		}
		s.start = len(b)
		if s.kind == repeat {
			b = append(b, c.old[rng.IntN(len(c.old))]...)
		} else {
			s.n = n
			b = c.source.append(b, n, at+event.Micros(n-first))
			n++
		}
		s.end = len(b)
		if s.kind == spoilt {
			c.source.spoil(b[s.start:s.end])
		}
	}
	if o.Events > 1 {
		b = append(b, ']')
	}
	length := len(b) - c.headLen
	for i := lengthDigits - 1; i >= 0; i-- {
		digit := byte(' ')
		if length > 0 {
			digit = '0' + byte(length%10)
		}
		b[c.lengthAt+i] = digit
		length /= 10
	}
	c.request = b
}

// send sends one request and settles it. due is when it ought to have been
// sent: its time counts from then, so that a server that stalls is charged for
// what had to wait behind. The answer is the pause that the server asks for.
func (c *client) send(due time.Time) (pause time.Duration) {
	if c.conn == nil {
		if err := c.connect(); err != nil {
			c.load.tally.noConnection.Add(1)
			return 100 * time.Millisecond
		}
	}
	now := time.Now()
	if due.IsZero() {
		due = now
	}
	c.build(now)
	a, err := c.exchange(now)
	done := time.Now()
	if err != nil {
		c.hangUp()
		c.load.tally.broken.Add(1)
		for _, s := range c.slots {
			if s.kind != repeat {
				c.book.unsure.add(s.n)
			}
		}
		return 10 * time.Millisecond
	}
	c.load.tally.answered(a.status, due, done, c.settle(a.status))
	if a.close {
		c.hangUp()
	}
	return a.retryAfter
}

func (c *client) connect() error {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(c.load.ctx, "tcp", c.load.target.hostport)
	if err != nil {
		return err
	}
	c.conn, c.deadline = conn, time.Time{}
	if c.in == nil {
		c.in = bufio.NewReaderSize(nil, 4096)
	}
	c.in.Reset(conn)
	c.load.watch(conn)
	return nil
}

func (c *client) hangUp() {
	if c.conn != nil {
		c.load.forget(c.conn)
		c.conn.Close()
		c.conn = nil
	}
}

// answer is what matters of the head of a response; its body is in client.body.
type answer struct {
	status     int
	close      bool
	retryAfter time.Duration
}

// exchange writes the request and reads the response.
func (c *client) exchange(now time.Time) (answer, error) {
	// Setting a deadline costs a timer; once in a while is enough.
	if c.deadline.Sub(now) < patience {
		c.deadline = now.Add(2 * patience)
		if err := c.conn.SetDeadline(c.deadline); err != nil {
			return answer{}, err
		}
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return answer{}, err
	}
	return c.read()
}

// read reads one response.
func (c *client) read() (answer, error) {
	var a answer
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < len("HTTP/1.1 200\r\n") || string(line[:7]) != "HTTP/1." {
		return a, fmt.Errorf("no HTTP/1.1 response: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil || a.status < 200 || a.status > 599 {
		return a, fmt.Errorf("no status that ends a request: %q", line)
	}
	length, chunked := -1, false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return a, fmt.Errorf("no header line: %q", line)
		}
		value = bytes.TrimSpace(value)
		switch {
		case len(key) == len("Content-Length") && bytes.EqualFold(key, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxAnswer {
				return a, fmt.Errorf("no length of an answer: %q", line)
			}
		case len(key) == len("Transfer-Encoding") && bytes.EqualFold(key, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case len(key) == len("Connection") && bytes.EqualFold(key, []byte("Connection")):
			a.close = bytes.EqualFold(value, []byte("close"))
		case len(key) == len("Retry-After") && bytes.EqualFold(key, []byte("Retry-After")):
			seconds, _ := strconv.Atoi(string(value)) // a date is as good as no advice
			a.retryAfter = min(time.Duration(max(seconds, 0))*time.Second, time.Second)
		}
	}
	switch {
	case chunked:
		return a, c.readChunks()
	case length < 0:
		return a, errors.New("a response without length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.in, c.body)
	return a, err
}

// readChunks reads a chunked body, which comes only with long lists of errors.
func (c *client) readChunks() error {
	body, err := io.ReadAll(io.LimitReader(httputil.NewChunkedReader(c.in), maxAnswer+1))
	if err != nil {
		return err
	}
	if len(body) > maxAnswer {
		return errors.New("a response without end")
	}
	c.body = body
	for { // trailers and the empty line
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return err
		}
	}
}

// settled is what an answer did to the events of a request.
type settled struct {
	accepted    int64 // events that the server now has, repeats included
	refusedBad  int64 // refused as they should be
	refusedGood int64 // refused without a reason that this program knows
	acceptedBad int64 // accepted though a rule was broken
}

// settle enters an answer into the book.
func (c *client) settle(status int) (sum settled) {
	var accepted func(i int) bool
	switch {
	case status == http.StatusUnprocessableEntity:
		accepted = func(int) bool { return false }
	case status != http.StatusAccepted && status != http.StatusOK:
		return sum // nothing was accepted, and the status is counted
	case len(c.slots) == 1:
		ok := bytes.Contains(c.body, []byte(`"accepted"`))
		accepted = func(int) bool { return ok }
	default:
		refused, ok := refusedOf(c.body)
		accepted = func(i int) bool { return ok && !refused[i] }
	}
	keep := -1
	if c.load.opts.Duplicates > 0 {
		keep = c.source.rng.IntN(len(c.slots))
	}
	for i, s := range c.slots {
		yes := accepted(i)
		if yes {
			sum.accepted++
		}
		switch {
		case yes && s.kind == spoilt:
			sum.acceptedBad++
		case yes && s.kind == fresh:
			c.book.acked.add(s.n)
			if i == keep {
				c.remember(c.request[s.start:s.end])
			}
		case !yes && s.kind == spoilt:
			sum.refusedBad++
		case !yes:
			sum.refusedGood++
		}
	}
	return sum
}

// remember keeps an acknowledged event, to be repeated later.
func (c *client) remember(e []byte) {
	if len(c.old) < remembered {
		c.old = append(c.old, bytes.Clone(e))
		return
	}
	i := c.source.rng.IntN(remembered)
	c.old[i] = append(c.old[i][:0], e...)
}

// noneRefused begins nearly every answer to a batch.
var noneRefused = []byte(`"rejected":0,`)

// refusedOf tells which events of a batch the answer says were refused; false
// when the answer is none.
func refusedOf(body []byte) (map[int]bool, bool) {
	if bytes.Contains(body[:min(len(body), 64)], noneRefused) {
		return nil, true
	}
	var a struct {
		Accepted *int `json:"accepted"`
		Errors   []struct {
			Index int `json:"index"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Accepted == nil {
		return nil, false
	}
	refused := make(map[int]bool, len(a.Errors))
	for _, e := range a.Errors {
		refused[e.Index] = true
	}
	return refused, true
}
