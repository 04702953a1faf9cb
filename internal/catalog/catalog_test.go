package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/catalog"
	"github.com/the-eye/eye/internal/event"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// startServer starts a JetStream server without any port.
func startServer(t *testing.T, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("JetStream did not come up")
	}
	return s
}

func connect(t *testing.T, s *server.Server) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// node is a catalog that runs, as on one node of an installation.
type node struct {
	*catalog.Catalog
	changes chan []access.Application // newest state; never blocks the catalog
}

func startNode(t *testing.T, js jetstream.JetStream) *node {
	t.Helper()
	n := &node{changes: make(chan []access.Application, 1000)}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := catalog.Open(t.Context(), log, js, catalog.Options{Changed: func(apps []access.Application) { n.changes <- apps }})
	if err != nil {
		t.Fatal(err)
	}
	n.Catalog = c
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run = %v; want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

// until waits for a change after which ok holds.
func (n *node) until(t *testing.T, what string, ok func([]access.Application) bool) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case apps := <-n.changes:
			if ok(apps) {
				return
			}
		case <-timeout:
			t.Fatalf("never: %s; applications are %v", what, ids(n.Applications()))
		}
	}
}

func ids(apps []access.Application) string {
	var list []string
	for _, a := range apps {
		list = append(list, a.ID)
	}
	return strings.Join(list, " ")
}

func app(id string) access.Application {
	return access.Application{ID: id, Name: id, Scopes: access.ScopesOf(access.EventsWrite), CreatedAt: noon, FutureToleranceSeconds: 60}
}

func TestApplicationsLiveAndDie(t *testing.T) {
	t.Parallel()
	c := startNode(t, connect(t, startServer(t, t.TempDir())))
	ctx := t.Context()
	for _, id := range []string{"b", "a-2", "a"} {
		if err := c.CreateApplication(ctx, app(id)); err != nil {
			t.Fatalf("CreateApplication(%s) = %v", id, err)
		}
	}
	if got := ids(c.Applications()); got != "a a-2 b" {
		t.Errorf("Applications = %s; want a a-2 b", got)
	}
	if err := c.CreateApplication(ctx, app("a")); !errors.Is(err, catalog.ErrExists) {
		t.Errorf("CreateApplication twice = %v; want %v", err, catalog.ErrExists)
	}
	if err := c.CreateApplication(ctx, app("operator")); err == nil {
		t.Error("CreateApplication(operator) = nil; want an error")
	}
	changed, err := c.UpdateApplication(ctx, "a", func(a *access.Application) error {
		a.Name, a.ID = "new", "smuggled"
		return nil
	})
	if err != nil || changed.Name != "new" || changed.ID != "a" {
		t.Errorf("UpdateApplication = %+v, %v; want a with the new name", changed, err)
	}
	if got, err := c.Application("a"); err != nil || got.Name != "new" {
		t.Errorf("Application(a) = %+v, %v; want the new name", got, err)
	}
	refuse := errors.New("no")
	if _, err := c.UpdateApplication(ctx, "a", func(*access.Application) error { return refuse }); err != refuse {
		t.Errorf("UpdateApplication = %v; want the error of the change", err)
	}
	if err := c.DeleteApplication(ctx, "a"); err != nil {
		t.Errorf("DeleteApplication(a) = %v", err)
	}
	if got := ids(c.Applications()); got != "a-2 b" {
		t.Errorf("Applications = %s; want a-2 b", got)
	}
	for name, err := range map[string]error{
		"Application":       second(c.Application("a")),
		"UpdateApplication": second(c.UpdateApplication(ctx, "a", func(*access.Application) error { return nil })),
		"DeleteApplication": c.DeleteApplication(ctx, "a"),
		"delete of no slug": c.DeleteApplication(ctx, "*"),
	} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("%s after deletion = %v; want %v", name, err, catalog.ErrNotFound)
		}
	}
	if err := c.CreateApplication(ctx, app("a")); err != nil {
		t.Errorf("CreateApplication after deletion = %v", err)
	}
	if got := ids(c.Applications()); got != "a a-2 b" {
		t.Errorf("Applications = %s; want a a-2 b", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOtherNodesLearnWithinASecond(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	one, two := startNode(t, connect(t, s)), startNode(t, connect(t, s))
	ctx := t.Context()
	credential, key := access.NewAPIKey("c1", 0, noon, time.Time{})
	shop := app("shop")
	shop.Credentials = []access.Credential{credential}
	if err := one.CreateApplication(ctx, shop); err != nil {
		t.Fatal(err)
	}
	two.until(t, "shop arrives", func(apps []access.Application) bool {
		return len(apps) == 1 && len(apps[0].Credentials) == 1 && apps[0].Credentials[0].Hash == access.HashKey(key)
	})
	began := time.Now()
	if _, err := one.UpdateApplication(ctx, "shop", func(a *access.Application) error { a.Credentials = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if got, _ := one.Application("shop"); len(got.Credentials) != 0 {
		t.Error("the node that revoked still has the credential when the call has returned")
	}
	two.until(t, "revocation arrives", func(apps []access.Application) bool { return len(apps) == 1 && len(apps[0].Credentials) == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("the other node learned after %v; want within 1s", took)
	}
	if err := two.DeleteApplication(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	one.until(t, "deletion arrives", func(apps []access.Application) bool { return len(apps) == 0 })
	// The events of the watch, which come late, must not bring it back.
	if err := one.CreateApplication(ctx, app("last")); err != nil {
		t.Fatal(err)
	}
	two.until(t, "last arrives", func(apps []access.Application) bool { return ids(apps) == "last" })
	one.until(t, "last is there alone", func(apps []access.Application) bool { return ids(apps) == "last" })
	if got := ids(one.Applications()); got != "last" {
		t.Errorf("Applications = %q; want last", got)
	}
}

func TestNoChangeIsLost(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	nodes := []*node{startNode(t, connect(t, s)), startNode(t, connect(t, s))}
	ctx := t.Context()
	if err := nodes[0].CreateApplication(ctx, app("shop")); err != nil {
		t.Fatal(err)
	}
	const each = 20
	var writers sync.WaitGroup
	for i, n := range nodes {
		writers.Go(func() {
			for k := range each {
				for {
					_, err := n.UpdateApplication(ctx, "shop", func(a *access.Application) error {
						a.Credentials = append(a.Credentials, access.Credential{ID: fmt.Sprintf("%d-%d", i, k), Kind: access.APIKey})
						return nil
					})
					if errors.Is(err, catalog.ErrConflict) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					break
				}
			}
		})
	}
	writers.Wait()
	for i, n := range nodes {
		n.until(t, "all credentials arrive", func(apps []access.Application) bool { return len(apps) == 1 && len(apps[0].Credentials) == 2*each })
		if got, _ := n.Application("shop"); len(got.Credentials) != 2*each {
			t.Errorf("node %d has %d credentials; want %d", i, len(got.Credentials), 2*each)
		}
	}
}

func TestSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	c := startNode(t, connect(t, s))
	want := app("shop")
	credential, _ := access.NewAPIKey("c1", access.ScopesOf(access.EventsWrite), noon, noon.Add(time.Hour))
	want.Credentials = []access.Credential{credential}
	if err := c.CreateApplication(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	key, err := c.ReceiptKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()

	again := startNode(t, connect(t, startServer(t, dir)))
	if d := cmp.Diff([]access.Application{want}, again.Applications()); d != "" {
		t.Errorf("Applications after restart (-want +got)\n%s", d)
	}
	if got, err := again.ReceiptKey(t.Context()); err != nil || string(got) != string(key) {
		t.Errorf("ReceiptKey after restart = %x, %v; want %x", got, err, key)
	}
}

func TestOneReceiptKey(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	keys := make([]string, 8)
	var askers sync.WaitGroup
	for i := range keys {
		c := startNode(t, connect(t, s))
		askers.Go(func() {
			key, err := c.ReceiptKey(t.Context())
			if _, bad := event.NewReceipts(key); err != nil || bad != nil {
				t.Errorf("ReceiptKey = %x, %v; want a key: %v", key, err, bad)
			}
			keys[i] = string(key)
		})
	}
	askers.Wait()
	for _, key := range keys {
		if key != keys[0] {
			t.Errorf("ReceiptKey = %x and %x; want one", key, keys[0])
		}
	}
}

func TestUnreadableApplicationIsLeftOut(t *testing.T) {
	t.Parallel()
	js := connect(t, startServer(t, t.TempDir()))
	c := startNode(t, js)
	kv, err := js.KeyValue(t.Context(), catalog.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CreateApplication(t.Context(), app("shop")); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"application.shop":     `{"id":"shop","scopes":["none such"]}`,
		"application.other":    `{"id":"shop"}`,
		"application.operator": `{"id":"operator"}`,
		"application.torn":     `{"id":"to`,
	} {
		if _, err := kv.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CreateApplication(t.Context(), app("good")); err != nil {
		t.Fatal(err)
	}
	c.until(t, "only the good one is left", func(apps []access.Application) bool { return ids(apps) == "good" })
	if err := c.CreateApplication(t.Context(), app("torn")); !errors.Is(err, catalog.ErrExists) {
		t.Errorf("CreateApplication over an unreadable one = %v; want %v", err, catalog.ErrExists)
	}
	if err := c.DeleteApplication(t.Context(), "torn"); err != nil {
		t.Errorf("DeleteApplication of an unreadable one = %v; want nil", err)
	}
}

func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	js := connect(t, s)
	s.Shutdown()
	s.WaitForShutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := catalog.Open(ctx, slog.New(slog.DiscardHandler), js, catalog.Options{}); err == nil {
		t.Error("Open = nil; want an error")
	}
}
