package eyetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/the-eye/eye/internal/config"
	"github.com/the-eye/eye/internal/eyetest"
)

// natsServer starts a NATS server as an operator would, from a file, with a
// port of its own.
func natsServer(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:-1\"\nmax_payload: 25169920\njetstream { store_dir: %q, max_file_store: 4GB, sync_interval: always }\n", t.TempDir())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoLog, o.NoSigs = true, true
	n, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go n.Start()
	t.Cleanup(func() {
		n.Shutdown()
		n.WaitForShutdown()
	})
	if !n.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	return n.ClientURL()
}

func TestExternalJournal(t *testing.T) {
	t.Parallel()
	url := natsServer(t)
	outside := func(c *config.Config) { c.Journal.URL, c.Journal.Synced = url, true }
	s := eyetest.Start(t, outside)
	key := s.NewApplication(t, "web-shop", all...)
	var sent eyetest.Accepted
	s.PostWait(t, key, pageView("b", "s", 2)).Want(t, 200)
	s.PostWait(t, key, batch(pageView("a", "s", 1), pageView("b", "s", 2))).Want(t, 200)
	s.Post(t, key, pageView("c", "s", 3)).Want(t, 202).JSON(t, &sent)
	s = s.Restart(t)
	if got := s.Await(t, key, sent.Receipt); got.Disposition != "stored" || got.Event.Position != 3 {
		t.Errorf("after a restart the receipt gives %+v; want stored at position 3", got)
	}
	if got := ids(s.List(t, key, "/v1/sessions/s/events")); got != "a b c" {
		t.Errorf("after a restart the session is %s; want a b c", got)
	}
	if _, err := os.Stat(filepath.Join(s.Data, "journal", "jetstream")); err == nil {
		t.Error("the embedded journal has files although an external one was given")
	}
	works(t, s, key)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	// The store is lost, the journal is not: everything comes back.
	another := eyetest.Start(t, outside)
	eyetest.Eventually(t, "everything is stored again", func() bool {
		return ids(another.List(t, key, "/v1/events?session_id=s")) == "a b c"
	})
	if got := another.Receipt(t, key, sent.Receipt); got.Disposition != "stored" {
		t.Errorf("in a new store the receipt gives %+v; want stored", got)
	}
}
