package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"time"
)

// LiveKind says what a Live is.
type LiveKind string

// The kinds.
const (
	// LiveConnected: the stream is open, for the first time or again. What is
	// stored from here on will come.
	LiveConnected LiveKind = "connected"
	// LiveEvent: an event was stored.
	LiveEvent LiveKind = "event"
	// LiveLagged: this reader was too slow, and events were left out.
	LiveLagged LiveKind = "lagged"
	// LiveLost: the connection is lost; the next Live tells that it is back.
	LiveLost LiveKind = "lost"
)

// Live is something that Tail has to tell.
type Live struct {
	Kind   LiveKind
	ID     string          // where to resume: Tail's lastID for what comes after this
	Event  StoredEvent     // of LiveEvent
	Lagged json.RawMessage // of LiveLagged: an object with what the server says about it
	Err    error           // of LiveLost: why
}

// silence is how long a stream may be without even a heartbeat.
const silence = 60 * time.Second

// steady is how long a connection must have lasted for the next one to be
// tried at once when it is lost.
const steady = 10 * time.Second

// errSilence is the cause of an end by silence.
var errSilence = errors.New("the server fell silent")

// Tail follows the events that match as they are stored, in the order in which
// the server stores them, whatever the filter says about order. lastID
// resumes behind a Live received before; "" begins with what comes now.
//
// When the connection is lost, Tail connects again for as long as ctx lasts and
// resumes where it was. The iteration ends with an error when the first
// connection fails, when the server refuses, or with that of ctx.
func (c *Client) Tail(ctx context.Context, f Filter, lastID string) iter.Seq2[Live, error] {
	return func(yield func(Live, error) bool) {
		t := tail{client: c, filter: f, lastID: lastID, yield: yield}
		t.run(ctx)
	}
}

// tail is one iteration of Tail.
type tail struct {
	client *Client
	filter Filter
	lastID string
	retry  time.Duration // what the server asks to wait before connecting again
	yield  func(Live, error) bool

	stopped bool // yield has returned false
}

// tell yields and remembers the answer.
func (t *tail) tell(l Live) bool {
	t.stopped = t.stopped || !t.yield(l, nil)
	return !t.stopped
}

func (t *tail) run(ctx context.Context) {
	pauses := newPauses(0)
	pauses.until = time.Time{} // for ever
	for connections := 0; ; {
		start := time.Now()
		connected, err := t.follow(ctx)
		if t.stopped {
			return
		}
		if connected {
			connections++
		}
		if time.Since(start) > steady {
			pauses.n = 0
		}
		pause, again := pauses.after(err)
		if ctx.Err() != nil {
			err, again = context.Cause(ctx), false
		}
		if !again || connections == 0 {
			t.yield(Live{}, fmt.Errorf("follow events: %w", err))
			return
		}
		if connected && !t.tell(Live{Kind: LiveLost, ID: t.lastID, Err: err}) {
			return
		}
		if !sleep(ctx, max(pause, t.retry)) {
			t.yield(Live{}, fmt.Errorf("follow events: %w", context.Cause(ctx)))
			return
		}
	}
}

// follow is one connection: it tells whether there was one and why it ended.
func (t *tail) follow(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilence) })
	defer watchdog.Stop()

	r := call{
		method: http.MethodGet,
		path:   "/v1/live",
		query:  t.filter.query(),
		header: http.Header{"Accept": {"text/event-stream"}},
	}
	if t.lastID != "" {
		r.header.Set("Last-Event-ID", t.lastID)
	}
	req, err := t.client.request(ctx, r)
	if err != nil {
		return false, err
	}
	resp, err := t.client.http.Do(req)
	if err != nil {
		return false, cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, problemOf(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return false, fmt.Errorf("%w: it is no event stream but %q; is %s The Eye?", errAnswer, kind, t.client.base)
	}
	watchdog.Stop()
	if !t.tell(Live{Kind: LiveConnected, ID: t.lastID}) {
		return true, nil
	}
	return true, cause(ctx, t.read(newServerEvents(&watched{resp.Body, watchdog})))
}

// read tells the events of one connection, until it ends.
func (t *tail) read(events *serverEvents) error {
	events.id = t.lastID
	for {
		e, err := events.next()
		t.retry = events.retry
		if err == io.EOF {
			return errors.New("the server closed the stream")
		}
		if err != nil {
			return err
		}
		t.lastID = e.id // before telling: whoever stops there has had it
		l := Live{Kind: LiveKind(e.kind), ID: e.id}
		switch l.Kind {
		case LiveEvent:
			if err := json.Unmarshal(e.data, &l.Event); err != nil {
				return fmt.Errorf("%w: event of the stream: %w", errAnswer, err)
			}
		case LiveLagged:
			l.Lagged = e.data
		default:
			continue // from a server newer than this package
		}
		if !t.tell(l) {
			return nil
		}
	}
}

// watched lets the watchdog watch each wait for something to arrive, but not
// the time that our own reader takes.
type watched struct {
	io.Reader
	watchdog *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	w.watchdog.Reset(silence)
	defer w.watchdog.Stop()
	return w.Reader.Read(b)
}

// cause is why ctx ended, if it did, and err otherwise.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && err != nil {
		return why
	}
	return err
}
