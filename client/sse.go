package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// serverEvent is one event of a stream of Server-Sent Events.
type serverEvent struct {
	id   string // the last one seen, also from an event before
	kind string // "message" if the stream does not say
	data []byte
}

// maxServerEvent bounds one event of a stream in memory. An event of The Eye
// may have 1 MiB as sent, and the server's facts come on top.
const maxServerEvent = 16 << 20

// errServerEvent: an event of the stream exceeds maxServerEvent. Reading on
// from before it would only bring it again.
var errServerEvent = fmt.Errorf("%w: an event of the stream is larger than %d bytes", errAnswer, maxServerEvent)

// serverEvents reads a stream of Server-Sent Events as the HTML standard has
// it (9.2.6, "interpreting an event stream").
type serverEvents struct {
	lines *bufio.Scanner
	id    string
	retry time.Duration // what the stream asks to wait before reconnecting; 0: nothing said
}

func newServerEvents(r io.Reader) *serverEvents {
	s := &serverEvents{lines: bufio.NewScanner(r)}
	s.lines.Buffer(make([]byte, 0, 4096), maxServerEvent)
	first, afterCR := true, false
	searched := 0 // bytes of this line that are known to hold no end
	s.lines.Split(func(b []byte, atEOF bool) (advance int, line []byte, err error) {
		skip := 0
		if first {
			// A byte order mark may come first; three bytes tell.
			if len(b) < 3 && !atEOF && bytes.HasPrefix(bom, b) {
				return 0, nil, nil
			}
			if bytes.HasPrefix(b, bom) {
				skip = len(bom)
			}
		} else if afterCR && len(b) > 0 && b[0] == '\n' {
			skip = 1 // the second half of CR LF; waiting for it would hold the line back
		}
		from := max(skip, searched)
		if i := bytes.IndexAny(b[from:], "\r\n"); i >= 0 {
			end := from + i
			first, afterCR, searched = false, b[end] == '\r', 0
			return end + 1, b[skip:end], nil
		}
		searched = len(b)
		if atEOF {
			return len(b), nil, nil // a line without its end does not count
		}
		return 0, nil, nil
	})
	return s
}

var bom = []byte("\ufeff")

// next returns the next event that has data. io.EOF tells that the stream has
// ended; what it did not complete by an empty line does not count. The data is
// the caller's.
func (s *serverEvents) next() (serverEvent, error) {
	var kind string
	var data []byte
	has := false
	for s.lines.Scan() {
		line := s.lines.Bytes()
		if len(line) == 0 {
			if !has {
				kind = ""
				continue
			}
			if kind == "" {
				kind = "message"
			}
			return serverEvent{id: s.id, kind: kind, data: data[:len(data)-1]}, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			kind = string(value)
		case "data":
			if len(data)+len(value) > maxServerEvent {
				return serverEvent{}, errServerEvent
			}
			data = append(append(data, value...), '\n')
			has = true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				s.id = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				s.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	switch err := s.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return serverEvent{}, errServerEvent
	case err != nil:
		return serverEvent{}, err
	}
	return serverEvent{}, io.EOF
}
