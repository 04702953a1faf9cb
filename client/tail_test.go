package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// following is a Tail whose next element is asked for one by one.
type following struct {
	t    *testing.T
	next func() (client.Live, error, bool)
}

func follow(t *testing.T, ctx context.Context, c *client.Client, f client.Filter, lastID string) following {
	next, stop := iter.Pull2(c.Tail(ctx, f, lastID))
	t.Cleanup(stop)
	return following{t, next}
}

// want checks the next element; text is the event's name, or the notice.
func (f following) want(kind client.LiveKind, text string) client.Live {
	f.t.Helper()
	l, err, ok := f.next()
	if !ok || err != nil {
		f.t.Fatalf("Tail ended with %v; want %s %s", err, kind, text)
	}
	got := l.Event.Name
	if l.Lagged != nil {
		got = string(l.Lagged)
	}
	if l.Kind != kind || got != text {
		f.t.Fatalf("Tail = %s %q; want %s %q", l.Kind, got, kind, text)
	}
	return l
}

// end checks that Tail ends, and returns why.
func (f following) end() error {
	f.t.Helper()
	l, err, ok := f.next()
	if !ok || err == nil {
		f.t.Fatalf("Tail = %+v, %v, %v; want an error", l, err, ok)
	}
	if _, _, more := f.next(); more {
		f.t.Error("Tail goes on after its error")
	}
	return err
}

func named(name string) client.Event {
	e := click("s")
	e.Name = name
	return e
}

func sendNow(t *testing.T, c *client.Client, events ...client.Event) {
	t.Helper()
	if r, err := c.SendNow(t.Context(), events...); err != nil || r.Err() != nil {
		t.Fatalf("SendNow: %v, %v", err, r.Err())
	}
}

func TestTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		c := over(t, s, client.Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		sendNow(t, c, named("before"))
		f := follow(t, ctx, c, client.Filter{Category: "page interaction"}, "")
		f.want(client.LiveConnected, "")
		other := named("other")
		other.Category = "other"
		sendNow(t, c, named("one"), other, named("two"))
		one := f.want(client.LiveEvent, "one")
		f.want(client.LiveEvent, "two")
		if one.Event.Application != "operator" || one.Event.Raw == nil || one.ID == "" {
			t.Errorf("Live = %+v; want a whole event with an id", one)
		}
		s.Lag(`{"missed":3}`)
		f.want(client.LiveLagged, `{"missed":3}`)
		time.Sleep(10 * time.Minute) // heartbeats hold the stream
		sendNow(t, c, named("three"))
		f.want(client.LiveEvent, "three")
		if n := len(s.Requests()); n != 4 {
			t.Errorf("%d requests; want three sends and one stream", n)
		}

		g := follow(t, ctx, c, client.Filter{}, one.ID)
		g.want(client.LiveConnected, "")
		g.want(client.LiveEvent, "other")
		g.want(client.LiveEvent, "two")

		enough := errors.New("enough")
		cancel(enough)
		if err := f.end(); !errors.Is(err, enough) {
			t.Errorf("Tail ended with %v; want %v", err, enough)
		}
	})
}

func TestTailReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		c := over(t, s, client.Options{})
		f := follow(t, t.Context(), c, client.Filter{}, "")
		f.want(client.LiveConnected, "")
		sendNow(t, c, named("one"))
		f.want(client.LiveEvent, "one")

		down := 3
		s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v1/live" || down == 0 {
				return false
			}
			down--
			if down == 1 {
				cut()
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		s.Disconnect()
		if l := f.want(client.LiveLost, ""); l.Err == nil {
			t.Error("LiveLost does not say why")
		}
		sendNow(t, c, named("two"), named("three"))
		f.want(client.LiveConnected, "")
		f.want(client.LiveEvent, "two")
		f.want(client.LiveEvent, "three")
		if down != 0 {
			t.Errorf("%d of the three failures did not happen", down)
		}
		// The key is revoked: there is no use in trying again.
		s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		s.Disconnect()
		f.want(client.LiveLost, "")
		var p *client.Problem
		if err := f.end(); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
			t.Errorf("Tail ended with %v; want the problem 401", err)
		}
	})
}

func TestTailAgainstSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		mute := true
		s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if !mute {
				return false
			}
			mute = false
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "retry: 5000\n\n")
			<-r.Context().Done()
			return true
		}
		c := over(t, s, client.Options{})
		f := follow(t, t.Context(), c, client.Filter{}, "")
		start := time.Now()
		f.want(client.LiveConnected, "")
		time.Sleep(5 * time.Minute) // our own slowness is not the server's silence
		f.want(client.LiveLost, "")
		if took := time.Since(start); took != 6*time.Minute {
			t.Errorf("lost after %v; want one minute of silence", took)
		}
		f.want(client.LiveConnected, "")
		if took := time.Since(start); took < 6*time.Minute+5*time.Second {
			t.Errorf("back after %v; want the five seconds kept that the server asked for", took)
		}
	})
}

func TestTailFailsAtFirst(t *testing.T) {
	for name, intercept := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"no connection": func(http.ResponseWriter, *http.Request) bool { cut(); return true },
		"unavailable":   func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true },
		"no stream":     func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, "hello"); return true },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := clienttest.New()
			s.Intercept = intercept
			start := time.Now()
			follow(t, t.Context(), over(t, s, client.Options{}), client.Filter{}, "").end()
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: Tail ended after %v; want at once", name, took)
			}
		})
	}
}

func TestTailRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			fmt.Fprint(w, "event: novelty\ndata: 1\n\nevent: connected\ndata: 2\n\nevent: event\ndata: {\"id\":7}\n\n")
			return true
		}
		f := follow(t, t.Context(), over(t, s, client.Options{}), client.Filter{}, "")
		f.want(client.LiveConnected, "")
		f.end() // what cannot be read would come again and again
	})
}

// Every event comes once, however often the connection is lost.
func TestTailLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.New()
		c := over(t, s, client.Options{})
		const n = 200
		go func() {
			for i := range n {
				if i%17 == 0 {
					s.Disconnect()
				}
				time.Sleep(100 * time.Millisecond)
				c.SendNow(t.Context(), named(fmt.Sprint(i)))
			}
		}()
		var got, want []string
		for l, err := range c.Tail(t.Context(), client.Filter{}, "") {
			if err != nil {
				t.Fatal(err)
			}
			if l.Kind == client.LiveEvent {
				got = append(got, l.Event.Name)
			}
			if len(got) == n {
				break
			}
		}
		for i := range n {
			want = append(want, fmt.Sprint(i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("Tail gave %v; want 0 to %d once and in order", got, n-1)
		}
	})
}
