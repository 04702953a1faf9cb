package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// process is a running eye.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

// start runs eye against the server at url.
func start(t *testing.T, url string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), "eye", args...)}
	p.cmd.Env = []string{"EYE_URL=" + url, "EYE_KEY=" + clienttest.OperatorKey, "EYE_DATA=" + t.TempDir()}
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// want reads the next line of standard output, which has the text.
func (p *process) want(text string) {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || !strings.Contains(line, text) {
		p.t.Fatalf("the next line is %q, %v; want %q (standard error: %s)", line, err, text, &p.errors)
	}
}

// end waits for the end and returns the exit code.
func (p *process) end() int {
	p.t.Helper()
	rest, err := io.ReadAll(p.out)
	if err != nil || len(rest) > 0 {
		p.t.Errorf("standard output ends with %q, %v; want nothing more", rest, err)
	}
	p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode()
}

func TestTailFollows(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	// An event that comes while the latest are read is in both, and shown once.
	var reading atomic.Bool
	var between func()
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && r.URL.Path == "/v1/events" && reading.CompareAndSwap(true, false) {
			between()
		}
		return false
	}
	url := s.Start(t)
	c, err := client.New(url, client.Options{Key: clienttest.OperatorKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	send := func(name string) {
		t.Helper()
		e := client.Event{ID: name, SessionID: "s", Category: "c", Name: name}
		if r, err := c.SendNow(context.WithoutCancel(t.Context()), e); err != nil || r.Err() != nil {
			t.Fatalf("send %s: %v, %v", name, err, r.Err())
		}
	}
	send("first")
	send("second")
	between = func() { send("between") }
	reading.Store(true)
	p := start(t, url, "tail", "-n", "2")
	p.want("second")
	p.want("between")
	send("after")
	p.want("after")
	s.Disconnect()
	send("missed")
	p.want("missed")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != exitOK {
		t.Errorf("after an interrupt the exit code is %d; want %d", code, exitOK)
	}
	if said := p.errors.String(); !strings.Contains(said, "the connection is lost") || !strings.Contains(said, "connected again") {
		t.Errorf("standard error: %q; want it to tell of the lost connection", said)
	}
}

func TestSendFromAPipe(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	arrived := make(chan string, 10)
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- string(body)
		return false
	}
	p := start(t, s.Start(t), "send")
	line := func(name string) {
		fmt.Fprintf(p.in, `{"session_id":"s","category":"c","name":"%s","data":{},"timestamp":"2021-01-01 09:15:27"}`+"\n", name)
	}
	// Events go on though the pipe stays open. One batch follows the other, so
	// that the second one is settled when the third arrives.
	for _, name := range []string{"one", "two", "three"} {
		line(name)
		if got := <-arrived; !strings.Contains(got, name) {
			t.Errorf("%s arrived; want %s", got, name)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.want(" events accepted") // 2 or 3
	if code := p.end(); code != exitFailed || !strings.Contains(p.errors.String(), "interrupted") {
		t.Errorf("after an interrupt: exit code %d, %q; want %d and interrupted", code, p.errors.String(), exitFailed)
	}
}

// A server that goes away in the middle is waited for, and nothing is stored twice.
func TestSendGoesOn(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	var turn atomic.Int64
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if turn.Add(1) == 2 { // it arrives, but the answer is lost
			s.ServeHTTP(discard{}, r)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	p := start(t, s.Start(t), "send", "--batch", "2", "--wait")
	for i := range 6 {
		fmt.Fprintf(p.in, `{"session_id":"s","category":"c","name":"n%d","data":{},"timestamp":"2021-01-01 09:15:27"}`+"\n", i)
	}
	p.in.Close()
	p.want("6 events accepted (4 stored, 2 duplicate, 0 not yet processed)")
	if code := p.end(); code != exitOK {
		t.Errorf("exit code %d; want %d: %s", code, exitOK, &p.errors)
	}
}

// discard is a ResponseWriter to nowhere.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestSendStops(t *testing.T) {
	t.Parallel()
	s := clienttest.New()
	var turn atomic.Int64
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if turn.Add(1) < 3 {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	p := start(t, s.Start(t), "send", "--batch", "2")
	for i := range 6 {
		fmt.Fprintf(p.in, `{"session_id":"s","category":"c","name":"n%d","data":{},"timestamp":"2021-01-01 09:15:27"}`+"\n", i)
	}
	p.in.Close()
	p.want("4 events accepted")
	code := p.end()
	if said := p.errors.String(); code != exitFailed || !strings.Contains(said, "stopped near standard input:5, after 4 events: ") {
		t.Errorf("exit code %d, %q; want %d and where it stopped", code, said, exitFailed)
	}
}
