package eyetest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/app"
	"github.com/the-eye/eye/internal/eyetest"
)

// A request whose first byte has come is answered, although the service is
// asked to stop before its last byte comes.
func TestDrainAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	const half = 20
	var wires []*wire
	var bodies []string
	for i := range half {
		body := pageView(fmt.Sprintf("half-%d", i), "s", i)
		w := dial(t, s)
		w.send(t, head(key, length(body))+body[:30])
		wires, bodies = append(wires, w), append(bodies, body)
	}
	eyetest.Eventually(t, "all are in flight", func() bool {
		return s.Metric(t, "eye_http_requests_in_flight", `route="/v1/events"`, `method="POST"`) == half
	})
	s.Interrupt()
	eyetest.Eventually(t, "no connection is taken any more", func() bool {
		a, err := s.Try(t, "GET", "/healthz", "", nil, "Connection", "close")
		return err != nil || a.Status >= 500
	})
	accepted := map[string]bool{}
	for i, w := range wires {
		w.send(t, bodies[i][30:])
		a, err := w.answer()
		if err != nil {
			t.Errorf("request %d in flight gets no answer: %v", i, err)
			continue
		}
		if a.Status == 202 {
			accepted[fmt.Sprintf("half-%d", i)] = true
		} else {
			problemOf(t, a, 503)
		}
	}
	if len(accepted) == 0 {
		t.Error("none of the requests in flight was accepted")
	}
	s = s.Restart(t)
	there := map[string]bool{}
	eyetest.Eventually(t, "all that was accepted is readable", func() bool {
		clear(there)
		for _, e := range s.List(t, key, "/v1/events") {
			there[e.ID] = true
		}
		return len(there) >= len(accepted)
	})
	for id := range accepted {
		if !there[id] {
			t.Errorf("event %s was accepted and is not there", id)
		}
	}
}

// Stopped under load, again and again: what was acknowledged is there, once.
func TestDrainUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	acknowledged := 0
	for round := range 3 {
		var mu sync.Mutex
		sent := map[string]bool{}      // acknowledged in this round
		var refused, idle atomic.Int64 // new connections; kept ones that were closed as the next request came
		var senders sync.WaitGroup
		enough := make(chan struct{})
		for i := range 16 {
			senders.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("r%d-%d-%d", round, i, n)
					a, err := s.Try(t, "POST", "/v1/events", key, []byte(batch(pageView(id, "s", n), pageView(id+"'", "s", n))))
					switch {
					case errors.Is(err, syscall.ECONNREFUSED):
						refused.Add(1)
						return
					case err != nil:
						idle.Add(1)
						return
					case a.Status == 202:
						mu.Lock()
						sent[id], sent[id+"'"] = true, true
						if len(sent) == 800 {
							close(enough)
						}
						mu.Unlock()
						if a.Last {
							return
						}
					case a.Status == 503:
						return
					default:
						t.Errorf("answer %d %.300s; want 202 or 503", a.Status, a.Body)
						return
					}
				}
			})
		}
		<-enough
		began := time.Now()
		s.Interrupt()
		senders.Wait()
		if err := s.Stop(); err != nil {
			t.Fatalf("round %d: the service ended with %v", round, err)
		}
		stopped := time.Since(began)
		began = time.Now()
		s = s.Restart(t)
		t.Logf("round %d: %d acknowledged; %d senders were refused a connection, %d found theirs closed; stop took %v, start %v",
			round, len(sent), refused.Load(), idle.Load(), stopped, time.Since(began))
		// Busy clients are told to leave before their connections are closed. One
		// that this machine did not let run meanwhile may miss it.
		if n := refused.Load() + idle.Load(); n > 4 {
			t.Errorf("%d of 16 busy clients were not told that the service drains", n)
		}
		if stopped > 15*time.Second {
			t.Errorf("the drain took %v; want seconds", stopped)
		}
		acknowledged += len(sent)
		eyetest.Eventually(t, "the journal is processed", func() bool {
			var e eyetest.Accepted
			a := s.Post(t, key, pageView("marker", "marker", 1), "Prefer", "wait=30")
			a.JSON(t, &e)
			return a.Status == 200
		})
		seen := map[string]int{}
		for _, e := range s.List(t, key, "/v1/sessions/s/events?limit=1000") {
			seen[e.ID]++
		}
		for id := range sent {
			if seen[id] != 1 {
				t.Errorf("event %s was acknowledged and is there %d times; want once", id, seen[id])
			}
		}
	}
	t.Logf("%d acknowledged", acknowledged)
}

func TestDrainEndsLiveStreams(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	w, err := s.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	began := time.Now()
	s.Interrupt()
	lines := bufio.NewScanner(w.Body)
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream breaks off with %v; want its end", err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("with a reader the drain took %v; want less than 10s", took)
	}
}

func TestOneServiceForOneDirectory(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	a, err := app.ReadAddress(s.Data)
	if err != nil || a.URL != s.URL || a.PID != os.Getpid() {
		t.Errorf("ReadAddress = %+v, %v; want %s, %d", a, err, s.URL, os.Getpid())
	}
	cfg := eyetest.Settings(t)
	cfg.Data = s.Data
	err = app.Run(t.Context(), cfg, slog.New(slog.DiscardHandler), api.Version{}, func(app.Address) { t.Error("a second service serves") })
	if err == nil {
		t.Fatal("a second service on one directory ends without an error")
	}
	for _, part := range []string{s.Data, s.URL, fmt.Sprint(os.Getpid()), "--data"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal is %q; want %s in it", err, part)
		}
	}
	works(t, s, s.NewApplication(t, "web-shop", all...)) // the first has not noticed
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if a, err := app.ReadAddress(s.Data); err == nil {
		t.Errorf("ReadAddress after the end = %+v; want an error", a)
	}
	s.Restart(t) // the directory is free again
}

func TestAServiceThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	run := func(change func(dir string) (listen string)) error {
		cfg := eyetest.Settings(t)
		if listen := change(cfg.Data); listen != "" {
			cfg.Listen = listen
		}
		return app.Run(t.Context(), cfg, slog.New(slog.DiscardHandler), api.Version{}, func(app.Address) { t.Error("the service serves") })
	}
	taken := strings.TrimPrefix(s.URL, "http://")
	if err := run(func(string) string { return taken }); err == nil || !strings.Contains(err.Error(), "--listen") || !strings.Contains(err.Error(), taken) {
		t.Errorf("on a port in use Run = %v; want %s and --listen", err, taken)
	}
	if err := run(func(dir string) string {
		if err := os.WriteFile(dir+"/journal", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return ""
	}); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("on a directory that is a file Run = %v; want --data", err)
	}
}

// The key that is made at the first start is kept, and for its owner only.
func TestTheOperatorsKeyIsKept(t *testing.T) {
	t.Parallel()
	cfg := eyetest.Settings(t)
	dir := cfg.Data
	for range 2 {
		s := eyetest.Start(t, eyetest.Data(dir), eyetest.WithoutKey)
		text, err := os.ReadFile(dir + "/admin.key")
		if err != nil {
			t.Fatal(err)
		}
		s.Get(t, strings.TrimSpace(string(text)), "/v1/applications").Want(t, 200)
		problemOf(t, s.Get(t, eyetest.AdminKey, "/v1/applications"), 401)
		if info, err := os.Stat(dir + "/admin.key"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("admin.key has mode %v, %v; want 0600", info.Mode(), err)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	for _, path := range []string{"/healthz", "/readyz", "/version", "/openapi.json"} {
		var any map[string]any
		if a := s.Get(t, "", path).Want(t, 200); json.Unmarshal(a.Body, &any) != nil {
			t.Errorf("GET %s is no JSON object: %.200s", path, a.Body)
		}
	}
	s.Get(t, "", "/docs").Want(t, 200)
	s.Get(t, "", "/metrics").Want(t, 200)
}
