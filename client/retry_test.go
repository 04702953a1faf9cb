package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// times are the moments of requests since start.
type times struct {
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
}

func (x *times) note() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at = append(x.at, time.Since(x.start))
}

func TestRetriesBackOffAndKeepIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		seen := &times{start: time.Now()}
		fail := failing(5, http.StatusServiceUnavailable)
		server.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			seen.note()
			return fail(w, r)
		}
		var pauses []time.Duration
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
			BatchDelay: -1,
			OnRetry:    func(err error, pause time.Duration) { pauses = append(pauses, pause) },
		})
		send(t, s, 1)
		time.Sleep(time.Minute)
		closeNow(t, s)

		if len(pauses) != 5 || len(seen.at) != 6 {
			t.Fatalf("%d pauses, %d requests; want 5 and 6", len(pauses), len(seen.at))
		}
		step := 100 * time.Millisecond
		for i, pause := range pauses {
			if pause < step/2 || pause > step {
				t.Errorf("pause %d = %v; want it in [%v, %v]", i, pause, step/2, step)
			}
			if waited := seen.at[i+1] - seen.at[i]; waited != pause {
				t.Errorf("request %d came %v after the one before; want %v", i+1, waited, pause)
			}
			step *= 2
		}
		requests := server.Requests()
		for i, r := range requests {
			if !bytes.Equal(r.Body, requests[0].Body) {
				t.Errorf("request %d has another body than the first:\n%s\n%s", i, r.Body, requests[0].Body)
			}
		}
		var e struct{ ID string }
		if err := json.Unmarshal(requests[0].Body, &e); err != nil || e.ID == "" {
			t.Errorf("the body has no id: %s, %v", requests[0].Body, err)
		}
		if got, want := s.Stats(), (client.Stats{Accepted: 1, Retried: 5}); got != want {
			t.Errorf("Stats = %+v; want %+v", got, want)
		}
	})
}

func TestLostAnswerStoresOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		lost := false
		server.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || lost {
				return false
			}
			lost = true
			// The event arrives, but its acknowledgement does not.
			server.Intercept = nil
			server.ServeHTTP(httpDiscard{}, r)
			cut()
			return true
		}
		c := over(t, server, client.Options{})
		s := c.NewSender(client.SenderOptions{BatchDelay: -1})
		send(t, s, 1)
		closeNow(t, s)
		var n int
		for _, err := range c.Events(t.Context(), client.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 || s.Stats() != (client.Stats{Accepted: 1, Retried: 1}) {
			t.Errorf("%d events stored, %+v; want 1, accepted after one retry", n, s.Stats())
		}
	})
}

// httpDiscard is a ResponseWriter to nowhere.
type httpDiscard struct{}

func (httpDiscard) Header() http.Header         { return http.Header{} }
func (httpDiscard) Write(b []byte) (int, error) { return len(b), nil }
func (httpDiscard) WriteHeader(int)             {}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		status int
		header func() string
		least  time.Duration
	}{
		{http.StatusTooManyRequests, func() string { return "7" }, 7 * time.Second},
		{http.StatusServiceUnavailable, func() string { return time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat) }, 90 * time.Second},
		{http.StatusServiceUnavailable, func() string { return "soon" }, 0},
		{http.StatusServiceUnavailable, func() string { return "-5" }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			header := test.header()
			server.Intercept = failing(1, test.status, "Retry-After", header)
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{BatchDelay: -1})
			start := time.Now()
			send(t, s, 1)
			closeNow(t, s)
			took := time.Since(start)
			if took < test.least || took > test.least+time.Second {
				t.Errorf("%d with Retry-After %q: accepted after %v; want %v and a little", test.status, header, took, test.least)
			}
		})
	}
}

func TestWhatIsRetried(t *testing.T) {
	for status, retried := range map[int]bool{
		400: false, 401: false, 403: false, 404: false, 405: false, 408: true, 409: false, 415: false,
		422: false, 425: true, 429: true, 500: true, 501: false, 502: true, 503: true, 504: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = failing(1, status)
			var dropped []error
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
				BatchDelay: -1,
				OnDropped:  func(_ client.Event, err error) { dropped = append(dropped, err) },
			})
			send(t, s, 1)
			closeNow(t, s)
			want := client.Stats{Accepted: 1, Retried: 1}
			if !retried {
				want = client.Stats{Dropped: client.Drops{Denied: 1}}
			}
			if got := s.Stats(); got != want {
				t.Errorf("after %d Stats = %+v; want %+v", status, got, want)
			}
			var p *client.Problem
			if !retried && (len(dropped) != 1 || !errors.As(dropped[0], &p) || p.Status != status) {
				t.Errorf("after %d OnDropped was told %v; want the problem", status, dropped)
			}
		})
	}
}

func TestSplitsWhatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		server.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			// At most three events a request, and never the one of session s5.
			if bytes.Count(body, []byte("\n")) > 3 || bytes.Contains(body, []byte(`"s5"`)) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			return false
		}
		refused := map[string][]client.Violation{}
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
			OnRefused: func(e client.Event, receipt string, why []client.Violation) { refused[e.SessionID] = why },
		})
		send(t, s, 10)
		closeNow(t, s)
		if got, want := s.Stats(), (client.Stats{Accepted: 9, Refused: 1}); got != want {
			t.Errorf("Stats = %+v; want %+v", got, want)
		}
		if len(refused) != 1 || len(refused["s5"]) != 1 || refused["s5"][0].Code != "too_large" {
			t.Errorf("refused = %v; want s5 as too_large", refused)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		server.Intercept = failing(1000, http.StatusBadGateway)
		var why error
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
			BatchDelay: -1, GiveUpAfter: 10 * time.Second,
			OnDropped: func(e client.Event, err error) { why = err },
		})
		start := time.Now()
		send(t, s, 1)
		closeNow(t, s)
		if took := time.Since(start); took > 10*time.Second || took < 3*time.Second {
			t.Errorf("gave up after %v; want at most 10s, and not much less", took)
		}
		got := s.Stats()
		if got.Dropped != (client.Drops{GaveUp: 1}) || got.Retried < 4 {
			t.Errorf("Stats = %+v; want one given up after some retries", got)
		}
		var p *client.Problem
		if !errors.As(why, &p) || p.Status != http.StatusBadGateway {
			t.Errorf("OnDropped was told %v; want the last problem", why)
		}
	})
}

func TestNoAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		hang := true
		server.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if !hang {
				return false
			}
			hang = false
			<-r.Context().Done()
			return true
		}
		s := over(t, server, client.Options{Timeout: 5 * time.Second}).NewSender(client.SenderOptions{BatchDelay: -1})
		start := time.Now()
		send(t, s, 1)
		closeNow(t, s)
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second || s.Stats().Accepted != 1 {
			t.Errorf("accepted %d after %v; want 1 after 5s and a little", s.Stats().Accepted, took)
		}
	})
}
