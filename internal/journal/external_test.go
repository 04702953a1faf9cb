package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

// natsServer starts a NATS server with a port of its own, from a configuration
// file as an operator would write it.
func natsServer(t *testing.T, dir string, port int, jetstream, more string) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_payload: 25169920\njetstream { store_dir: %q, max_file_store: 1GB, %s }\n%s\n", port, dir, jetstream, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoLog, o.NoSigs = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func connect(t *testing.T, url string) *journal.Server {
	t.Helper()
	s, err := journal.StartServer(t.Context(), journal.ServerOptions{URL: url, Log: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(t.Context()) })
	return s
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := natsServer(t, dir, -1, "sync_interval: always", "")
	port := n.Addr().String()[len("127.0.0.1:"):]
	s := connect(t, n.ClientURL())
	if s.Embedded() {
		t.Error("Embedded = true; want false")
	}
	j := open(t, s, journal.Options{MaxBytes: 1 << 20, Synced: true})
	run(t, j)
	mustAppend(t, j, "before", 1)
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := next(t, r); err != nil || b.Sequence != 1 {
		t.Fatalf("Next = block %d, %v; want 1", b.Sequence, err)
	}

	// The server goes away, and comes back on its port with its files.
	n.Shutdown()
	n.WaitForShutdown()
	begin := time.Now()
	if _, err := j.Append(t.Context(), []byte("lost"), 1); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Append without a server = %v; want ErrUnavailable", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the answer took %v; want less than 5s", took)
	}
	var number int
	fmt.Sscan(port, &number)
	natsServer(t, dir, number, "sync_interval: always", "")
	eventually(t, "ready again", func() bool { return j.Ready() == nil })
	p := mustAppend(t, j, "after", 1)
	for {
		b, err := next(t, r)
		if err != nil {
			t.Fatal(err)
		}
		if b.Records == 0 {
			continue // it tested the way
		}
		if string(b.Batches[0].Records) != "after" || event.At(b.Sequence, 0) != p {
			t.Errorf("Next = block %d with %q; want what came after", b.Sequence, b.Batches[0].Records)
		}
		break
	}
	if _, err := j.Append(t.Context(), random(2<<20), 1); !errors.Is(err, journal.ErrFull) {
		t.Errorf("Append of more than the stream may hold = %v; want ErrFull", err)
	}
}

// A server that cannot be asked is believed only when its operator vouches.
func TestExternalServerThatDoesNotTell(t *testing.T) {
	t.Parallel()
	n := natsServer(t, t.TempDir(), -1, "sync_interval: always", "")
	s := connect(t, n.ClientURL())
	for vouched, want := range map[bool]error{false: journal.ErrNotSynced, true: nil} {
		_, err := journal.Open(t.Context(), s, journal.Options{MaxBytes: 1 << 20, Synced: vouched, Log: logger(t)})
		if !errors.Is(err, want) {
			t.Errorf("Open with Synced %v = %v; want %v", vouched, err, want)
		}
	}
}

// An operator who lets the account of The Eye ask gets the setting checked.
func TestExternalServerSync(t *testing.T) {
	t.Parallel()
	const accounts = `
accounts {
  EYE: { jetstream: enabled, users: [{user: eye, password: pw}],
         imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}] }
  SYS: { users: [{user: sys, password: pw}],
         exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", accounts: [EYE], response: stream}] }
}
system_account: SYS`
	for _, tt := range []struct {
		setting string
		want    error
	}{{"sync_interval: always", nil}, {"sync_interval: 2m", journal.ErrNotSynced}} {
		n := natsServer(t, t.TempDir(), -1, tt.setting, accounts)
		s := connect(t, "nats://eye:pw@"+n.Addr().String())
		_, err := journal.Open(t.Context(), s, journal.Options{MaxBytes: 1 << 20, Log: logger(t)})
		if !errors.Is(err, tt.want) {
			t.Errorf("Open with %q = %v; want %v", tt.setting, err, tt.want)
		}
	}
}

func TestStartServerFails(t *testing.T) {
	t.Parallel()
	if _, err := journal.StartServer(t.Context(), journal.ServerOptions{}); err == nil {
		t.Error("embedded without a directory: no error")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.StartServer(t.Context(), journal.ServerOptions{Dir: file}); err == nil {
		t.Error("embedded in a file: no error")
	}
	if err := os.Mkdir(filepath.Join(t.TempDir(), "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.StartServer(t.Context(), journal.ServerOptions{URL: "nats://127.0.0.1:1"}); err == nil {
		t.Error("nobody listens: no error")
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.StartServer(t.Context(), journal.ServerOptions{Dir: broken, Log: logger(t)}); err == nil {
		t.Error("a file where JetStream's directory should be: no error")
	}
}
