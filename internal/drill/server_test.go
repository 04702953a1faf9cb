package drill_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// home is an installation: a data directory and how the program is started on it.
type home struct {
	dir string
	key string // of the operator
	env []string

	external *external // nil: the journal is embedded
}

func newHome(dir string, env ...string) *home {
	return &home{dir: dir, key: rand.Text() + rand.Text(), env: append([]string{
		// Checkpoints, segments and merges happen every few hundred events.
		"EYE_DRILL_WAL_BYTES=65536", "EYE_DRILL_SEGMENT_EVENTS=700",
		"EYE_STORE_MEMORY=512MiB",
	}, env...)}
}

// server is one run of the program.
type server struct {
	t     testing.TB
	cmd   *exec.Cmd
	url   string
	began time.Time
	took  time.Duration // from the start until it served

	serving chan struct{} // closed when it says so
	gone    chan struct{} // closed when the process has ended; state is set then
	state   *os.ProcessState

	mu  sync.Mutex
	log []string // guarded by mu: its last lines
}

// startPatience is how long a start may take.
const startPatience = 30 * time.Second

// spawn starts the program and does not wait for it to serve. crash is the
// value of EYE_CRASH.
func (h *home) spawn(t testing.TB, crash string) *server {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, began: time.Now(), serving: make(chan struct{}), gone: make(chan struct{})}
	s.cmd = exec.Command(path, "serve", "--data", h.dir, "--listen", "127.0.0.1:0")
	s.cmd.Env = append(os.Environ(), "EYE_ADMIN_KEY="+h.key, "EYE_CRASH="+crash)
	s.cmd.Env = append(s.cmd.Env, h.env...)
	if h.external != nil {
		s.cmd.Env = append(s.cmd.Env, "EYE_JOURNAL_URL="+h.external.url,
			"EYE_JOURNAL_SYNCED=true") // true or not: it cannot be asked
	}
	s.cmd.SysProcAttr = childAttributes()
	lines, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.gone)
		scanner := bufio.NewScanner(lines)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			s.note(scanner.Text())
		}
		s.cmd.Wait() // how it ended is in ProcessState
		s.state = s.cmd.ProcessState
	}()
	t.Cleanup(s.kill)
	return s
}

// maxLogLines of a server are kept for the report of a failure.
const maxLogLines = 100

func (s *server) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.log) == maxLogLines {
		s.log = append(s.log[:0], s.log[1:]...)
	}
	s.log = append(s.log, line)
	if strings.Contains(line, "WARNING: DATA RACE") { // with -drill.race
		s.t.Errorf("the race detector found something in process %d", s.cmd.Process.Pid)
	}
	if strings.Contains(line, " msg=serving ") && s.took == 0 {
		s.took = time.Since(s.began)
		close(s.serving)
	}
}

// lastLines is the end of the log, for the report of a failure.
func (s *server) lastLines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// logged tells whether one of the last lines holds text.
func (s *server) logged(text string) bool {
	return strings.Contains(s.lastLines(), text)
}

// start starts the program and waits until it serves. That it does is one of
// the promises.
func (h *home) start(t testing.TB, crash string) *server {
	t.Helper()
	s := h.spawn(t, crash)
	if err := s.await(h); err != nil {
		s.kill()
		t.Fatalf("start: %v; its log:\n%s", err, s.lastLines())
	}
	return s
}

// await waits until the server serves and learns its address.
func (s *server) await(h *home) error {
	select {
	case <-s.serving:
	case <-s.gone:
		return fmt.Errorf("the process ended before it served: %v", s.state)
	case <-time.After(startPatience):
		return fmt.Errorf("it does not serve after %v", startPatience)
	}
	text, err := os.ReadFile(filepath.Join(h.dir, "serve.json"))
	if err != nil {
		return err
	}
	var address struct {
		URL string `json:"url"`
		PID int    `json:"pid"`
	}
	if err := json.Unmarshal(text, &address); err != nil {
		return err
	}
	if address.PID != s.cmd.Process.Pid {
		return fmt.Errorf("serve.json is of process %d, not of %d", address.PID, s.cmd.Process.Pid)
	}
	s.url = address.URL
	return nil
}

// kill is kill -9; it returns when the process is gone.
func (s *server) kill() {
	s.cmd.Process.Kill() // it may be gone already
	<-s.gone
}

// stop is SIGTERM. The program must end by itself, and well.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("SIGTERM: %v", err)
	}
	select {
	case <-s.gone:
	case <-time.After(40 * time.Second):
		s.t.Fatalf("still running 40 s after SIGTERM; its log:\n%s", s.lastLines())
	}
	if !s.state.Success() {
		s.t.Fatalf("after SIGTERM: %v; its log:\n%s", s.state, s.lastLines())
	}
}

// ended tells whether the process is gone.
func (s *server) ended() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}
