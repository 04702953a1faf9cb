package client

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parse reads a whole stream.
func parse(r io.Reader) (events []serverEvent, last *serverEvents, err error) {
	s := newServerEvents(r)
	for {
		e, err := s.next()
		if err == io.EOF {
			return events, s, nil
		}
		if err != nil {
			return events, s, err
		}
		events = append(events, e)
	}
}

func TestServerEvents(t *testing.T) {
	t.Parallel()
	message := func(id, data string) serverEvent { return serverEvent{id, "message", []byte(data)} }
	for _, test := range []struct {
		name, stream string
		want         []serverEvent
	}{
		{"empty", "", nil},
		{"comments are for keeping the line open", ": hello\n\n:\n\n", nil},
		{"one", "id: 7\nevent: event\ndata: {}\n\n", []serverEvent{{"7", "event", []byte("{}")}}},
		{"the id stays", "id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", []serverEvent{message("7", "a"), message("7", "b"), message("", "c")}},
		{"the kind does not", "event: x\n\ndata: a\n\n", []serverEvent{message("", "a")}},
		{"lines of data are joined", "data: a\ndata:b\ndata:  c\ndata\n\n", []serverEvent{message("", "a\nb\n c\n")}},
		{"empty data is data", "data\n\n", []serverEvent{message("", "")}},
		{"carriage returns", "data: a\r\rdata: b\r\n\r\ndata: c\n\r", []serverEvent{message("", "a"), message("", "b"), message("", "c")}},
		{"byte order mark", "\ufeffdata: a\n\n", []serverEvent{message("", "a")}},
		{"only the first byte order mark", "data: a\n\ufeffdata: b\n\n", []serverEvent{message("", "a")}},
		{"an id with NUL does not count", "id: a\nid: b\x00\ndata: x\n\n", []serverEvent{message("a", "x")}},
		{"unknown fields do not count", "datas: a\n data: b\ndata: c\n\n", []serverEvent{message("", "c")}},
		{"what is cut off does not count", "data: a\n\ndata: b\n", []serverEvent{message("", "a")}},
		{"what is cut off in its last line does not count", "data: a\ndata: b", nil},
	} {
		for how, r := range map[string]io.Reader{
			"whole":        strings.NewReader(test.stream),
			"byte by byte": iotest.OneByteReader(strings.NewReader(test.stream)),
		} {
			got, _, err := parse(r)
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(serverEvent{})); err != nil || d != "" {
				t.Errorf("%s, %s: %v (-want +got):\n%s", test.name, how, err, d)
			}
		}
	}
}

func TestServerEventsRetry(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]time.Duration{
		"retry: 1500\n": 1500 * time.Millisecond, "retry: 10\nretry: 1s\n": 10 * time.Millisecond, "retry: -1\n": 0, "retry: 99999999999999\n": 0,
	} {
		if _, s, err := parse(strings.NewReader(stream)); err != nil || s.retry != want {
			t.Errorf("%q: retry = %v, %v; want %v", stream, s.retry, err, want)
		}
	}
}

// A line must not wait for what comes behind it, or live events would be late.
func TestServerEventsAtOnce(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r\n", "\r"} {
		r, w := io.Pipe()
		s := newServerEvents(r)
		go io.WriteString(w, "data: a"+end+end)
		if e, err := s.next(); err != nil || string(e.data) != "a" {
			t.Errorf("with line end %q: %q, %v; want a", end, e.data, err)
		}
		w.Close()
	}
}

// endless repeats its text for ever.
type endless string

func (e endless) Read(b []byte) (n int, err error) {
	for n < len(b) {
		n += copy(b[n:], e)
	}
	return n, nil
}

func TestServerEventsAreBounded(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]io.Reader{
		"a line without end": io.MultiReader(strings.NewReader("data: "), endless("x")),
		"an event of lines":  endless("data: " + strings.Repeat("x", 1000) + "\n"),
	} {
		if _, _, err := parse(stream); !errors.Is(err, errServerEvent) {
			t.Errorf("%s: %v; want %v", name, err, errServerEvent)
		}
	}
	broken := errors.New("broken")
	if _, _, err := parse(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("parse = %v; want %v", err, broken)
	}
}

func FuzzServerEvents(f *testing.F) {
	f.Add("id: 7\nevent: event\ndata: {}\n\n")
	f.Add("\ufeff: x\r\ndata: a\r\rdata:b\n\nretry: 5\n\xff: \x00")
	f.Add("data: a\r\n\ndata\n\ndata\r")
	f.Fuzz(func(t *testing.T, stream string) {
		got, last, err := parse(strings.NewReader(stream))
		if err != nil {
			t.Fatalf("parse = %v; want no error for %d bytes", err, len(stream))
		}
		again, lastAgain, err := parse(iotest.OneByteReader(strings.NewReader(stream)))
		if d := cmp.Diff(got, again, cmp.AllowUnexported(serverEvent{})); err != nil || d != "" || last.id != lastAgain.id || last.retry != lastAgain.retry {
			t.Errorf("in small pieces: %v, %s", err, d)
		}
		// What a server writes of it comes back.
		var b strings.Builder
		for _, e := range got {
			b.WriteString("id: " + e.id + "\nevent: " + e.kind + "\n")
			for line := range strings.SplitSeq(string(e.data), "\n") {
				b.WriteString("data: " + line + "\n")
			}
			b.WriteString("\n")
		}
		back, _, err := parse(strings.NewReader(b.String()))
		if d := cmp.Diff(got, back, cmp.AllowUnexported(serverEvent{})); err != nil || d != "" {
			t.Errorf("written and read again: %v (-want +got):\n%s", err, d)
		}
	})
}
