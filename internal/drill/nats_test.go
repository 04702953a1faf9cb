package drill_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// A journal server of its own process, which can be told not to sync: with it
// the drill shows that it would notice. The embedded one cannot be told so.

// Variables of the process that is such a server.
const (
	natsDir  = "EYE_DRILL_NATS_DIR"
	natsSync = "EYE_DRILL_NATS_SYNC"
)

// serveNATS is that process. It prints its address and serves until it is killed.
func serveNATS() int {
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "drill", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: os.Getenv(natsDir), SyncAlways: os.Getenv(natsSync) != "", MaxPayload: 8 << 20,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		fmt.Fprintln(os.Stderr, "the journal server does not start")
		return 1
	}
	fmt.Println(s.ClientURL())
	s.WaitForShutdown()
	return 0
}

// external is such a process.
type external struct {
	t    testing.TB
	dir  string
	sync bool
	cmd  *exec.Cmd
	url  string
	gone chan struct{}
}

// startNATS starts one that keeps its files in dir, where an embedded server
// would look for them.
func startNATS(t testing.TB, dir string, sync bool) *external {
	t.Helper()
	x := &external{t: t, dir: dir, sync: sync, gone: make(chan struct{})}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x.cmd = exec.Command(path)
	x.cmd.Env = append(os.Environ(), natsDir+"="+dir)
	if sync {
		x.cmd.Env = append(x.cmd.Env, natsSync+"=1")
	}
	x.cmd.Stderr = os.Stderr
	x.cmd.SysProcAttr = childAttributes()
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if lines.Scan() {
		x.url = lines.Text()
	}
	go func() {
		defer close(x.gone)
		x.cmd.Wait() // it is killed
	}()
	t.Cleanup(x.kill)
	if x.url == "" {
		t.Fatal("the journal server did not start")
	}
	return x
}

func (x *external) kill() {
	x.cmd.Process.Kill()
	<-x.gone
}

// again starts another one on the same files.
func (x *external) again() *external {
	x.t.Helper()
	return startNATS(x.t, x.dir, x.sync)
}

// journalDir is where the journal of an installation lies.
func (h *home) journalDir() string { return filepath.Join(h.dir, "journal") }
