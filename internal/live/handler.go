package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
	"github.com/the-eye/eye/internal/store"
)

// Options of a Handler. All are needed.
type Options struct {
	Hub      *Hub
	Receipts *event.Receipts
	Reader   func() (store.Reader, error)

	// Filter is what the request asks for and its sender may see, or a
	// *problem.Problem.
	Filter func(*http.Request) (store.Filter, error)

	// Encode appends the event as the reading API writes it, on one line.
	Encode func([]byte, *store.Row) []byte

	// Done ends all streams: the server drains.
	Done <-chan struct{}
}

// Handler answers GET /v1/live with Server-Sent Events: each "event" with the
// event's receipt as its id, from which a reader resumes with Last-Event-ID, and
// a comment now and then so that nobody thinks the line dead.
type Handler struct{ o Options }

// NewHandler makes a Handler.
func NewHandler(o Options) *Handler { return &Handler{o} }

const (
	heartbeat    = 15 * time.Second
	writeTimeout = 10 * time.Second // a reader that takes no bytes for so long is gone

	// Read from the store at once: events are few until their size is known,
	// then as many as make pageBytes.
	firstPage = 16
	fullPage  = 500
	pageBytes = 1 << 20
)

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	filter, err := h.o.Filter(r)
	if no, ok := errors.AsType[*problem.Problem](err); ok {
		no.Write(w)
		return
	}
	position := h.o.Hub.join()
	defer h.o.Hub.leave()
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		p, err := h.o.Receipts.Position(last)
		if err != nil {
			(&problem.Problem{
				Status: http.StatusBadRequest, Type: "invalid-parameter", Title: "Invalid header",
				Detail: "Last-Event-ID must be the id of an event of this stream, which is its receipt.",
			}).Write(w)
			return
		}
		position = p
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	s := &stream{h: h, w: w, control: http.NewResponseController(w), filter: filter, position: position, page: firstPage}
	if s.send([]byte(": the events follow as they are stored\n\n")) != nil {
		return
	}
	s.run(r.Context())
}

// stream is one reader.
type stream struct {
	h        *Handler
	w        http.ResponseWriter
	control  *http.ResponseController
	filter   store.Filter
	position event.Position // what lies up to here has been shown, or was not asked for
	page     int            // events to read from the store next
	buf      []byte
	events   []event.Event
}

// run shows events until the reader goes, the server drains, or something fails.
// The reader then comes again with the id of the last event it saw.
func (s *stream) run(ctx context.Context) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		events, reaches, changed := s.h.o.Hub.after(s.position, s.events[:0])
		s.events = events
		if !reaches {
			more, err := s.fromStore(ctx)
			if err != nil {
				return
			}
			if more {
				continue
			}
		} else if len(events) > 0 {
			if s.show(events) != nil {
				return
			}
			clear(events)
			continue
		}
		select {
		case <-changed:
		case <-beat.C:
			if s.send([]byte(": still here\n\n")) != nil {
				return
			}
		case <-ctx.Done():
			return
		case <-s.h.o.Done:
			return
		}
	}
}

// show sends those of the events that the filter selects.
func (s *stream) show(events []event.Event) error {
	s.buf = s.buf[:0]
	for i := range events {
		if s.filter.Matches(&events[i]) {
			s.append(&store.Row{Event: events[i]})
		}
		s.position = events[i].Position
	}
	return s.send(s.buf)
}

// fromStore shows a page of what the ring no longer has, and tells whether there
// may be more.
func (s *stream) fromStore(ctx context.Context) (bool, error) {
	reader, err := s.h.o.Reader()
	if err != nil {
		return false, err
	}
	// Everything up to here is in the store by now, shown or filtered out.
	high := s.h.o.Hub.newest()
	rows, err := reader.Since(ctx, s.position, s.filter, s.page)
	if err != nil {
		return false, fmt.Errorf("read what was missed: %w", err)
	}
	s.buf = s.buf[:0]
	for i := range rows {
		s.append(&rows[i])
		s.position = rows[i].Position
	}
	if len(rows) < s.page {
		s.position = max(s.position, high)
	} else {
		s.page = min(fullPage, max(1, pageBytes*len(rows)/len(s.buf)))
	}
	return true, s.send(s.buf)
}

// append appends one event to what is sent next.
func (s *stream) append(row *store.Row) {
	s.buf = append(s.buf, "id: "...)
	s.buf = s.h.o.Receipts.Append(s.buf, row.Position)
	s.buf = append(s.buf, "\nevent: event\ndata: "...)
	start := len(s.buf)
	s.buf = s.h.o.Encode(s.buf, row)
	// A payload as sent may hold line ends between its tokens, never inside a
	// string: in this format they would end the event.
	for _, end := range []byte("\n\r") {
		for text := s.buf[start:]; ; {
			i := bytes.IndexByte(text, end)
			if i < 0 {
				break
			}
			text[i] = ' '
			text = text[i+1:]
		}
	}
	s.buf = append(s.buf, "\n\n"...)
}

// send writes b and sees that it leaves.
func (s *stream) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}
