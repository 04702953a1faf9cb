package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// child is a process that this one started and ends.
type child struct {
	url string
	pid int

	process *os.Process
	log     string        // its standard output and error
	done    chan struct{} // closed when it has ended
	err     error         // why; valid after done
}

// startTime is how long a child may take until it listens.
const startTime = 30 * time.Second

// start runs the program and waits until it has written to listening where it
// listens: {"url":"http://127.0.0.1:PORT","pid":N}.
func start(ctx context.Context, listening, log, program string, env []string, args ...string) (*child, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...) // ended by stop, in good order
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, env
	cmd.SysProcAttr = dieWithParent()

	c := &child{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() { // ends with the process; stop waits for it
		// The child lives as long as the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		c.process = cmd.Process
		started <- err
		if err == nil {
			c.err = cmd.Wait()
		}
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if err := c.listen(ctx, listening); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s %s: %w", filepath.Base(program), strings.Join(args, " "), err), c.stop())
	}
	return c, nil
}

// listen waits until the child listens.
func (c *child) listen(ctx context.Context, listening string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		var at struct {
			URL string `json:"url"`
			PID int    `json:"pid"`
		}
		// A file half written is no JSON yet.
		if text, err := os.ReadFile(listening); err == nil && json.Unmarshal(text, &at) == nil && at.URL != "" {
			c.url, c.pid = at.URL, at.PID
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("it ended (%v) and said: %s", c.err, c.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w: %s", ctx.Err(), c.lastWords())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lastWords is the end of what the child said.
func (c *child) lastWords() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-1000):]))
}

// stop ends the child in good order and waits for it; one that takes too long
// is killed, which is an error. A second stop does nothing.
func (c *child) stop() error {
	select {
	case <-c.done:
		return nil
	default:
	}
	c.process.Signal(syscall.SIGTERM) // it may just have ended
	select {
	case <-c.done:
		return nil
	case <-time.After(startTime):
		c.process.Kill()
		<-c.done
		return fmt.Errorf("process %d did not end within %v and was killed", c.pid, startTime)
	}
}

// serve starts a server with its data in dir; the key is its operator's.
func serve(ctx context.Context, program, dir string) (c *child, key string, err error) {
	key = "eye_" + rand.Text() + rand.Text()
	c, err = start(ctx, filepath.Join(dir, "serve.json"), filepath.Join(dir, "serve.log"), program,
		environment("EYE_ADMIN_KEY="+key), "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	readyCtx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	operator := newRemote(c.url, key)
	defer operator.http.CloseIdleConnections()
	if err := operator.ready(readyCtx); err != nil {
		return nil, "", errors.Join(err, c.stop())
	}
	return c, key, nil
}

// environment is this process's without the settings of another server.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "EYE_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}
