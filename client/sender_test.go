package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// batches are the numbers of events in the requests that sent any.
func batches(s *clienttest.Server) []int {
	var sizes []int
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost {
			sizes = append(sizes, max(1, bytes.Count(r.Body, []byte("\n"))))
		}
	}
	return sizes
}

func send(t *testing.T, s *client.Sender, n int) {
	t.Helper()
	for i := range n {
		if err := s.Send(t.Context(), click("s"+strconv.Itoa(i))); err != nil {
			t.Fatalf("Send event %d: %v", i, err)
		}
	}
}

func closeNow(t *testing.T, s *client.Sender) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestBatching(t *testing.T) {
	size := func() int { // of one encoded event
		server := clienttest.New()
		e := click("s0")
		e.ID, e.Timestamp = client.NewID(), time.Now()
		if _, err := over(t, server, client.Options{}).SendNow(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		return len(server.Requests()[0].Body)
	}()
	for _, test := range []struct {
		name string
		o    client.SenderOptions
		send func(*testing.T, *client.Sender)
		want []int
	}{
		{"a full batch goes at once", client.SenderOptions{BatchEvents: 3, BatchDelay: time.Hour},
			func(t *testing.T, s *client.Sender) { send(t, s, 6) }, []int{3, 3}},
		{"an event waits no longer than the delay", client.SenderOptions{BatchDelay: 10 * time.Millisecond},
			func(t *testing.T, s *client.Sender) {
				send(t, s, 2)
				time.Sleep(9 * time.Millisecond)
				send(t, s, 1)
				time.Sleep(2 * time.Millisecond)
				send(t, s, 1)
				time.Sleep(20 * time.Millisecond)
			}, []int{3, 1}},
		{"bytes fill a batch too", client.SenderOptions{BatchBytes: 2*size + 1, BatchDelay: time.Hour},
			func(t *testing.T, s *client.Sender) { send(t, s, 5) }, []int{2, 2}},
		{"an event larger than a batch goes alone", client.SenderOptions{BatchBytes: 1, BatchDelay: time.Hour},
			func(t *testing.T, s *client.Sender) { send(t, s, 2) }, []int{1, 1}},
		{"no delay sends what is there", client.SenderOptions{BatchDelay: -1},
			func(t *testing.T, s *client.Sender) {
				send(t, s, 1)
				synctest.Wait()
				send(t, s, 1)
			}, []int{1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := clienttest.New()
				s := over(t, server, client.Options{}).NewSender(test.o)
				test.send(t, s)
				synctest.Wait()
				if d := cmp.Diff(test.want, batches(server)); d != "" {
					t.Errorf("events a request (-want +got):\n%s", d)
				}
				closeNow(t, s)
			})
		})
	}
}

func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{BatchDelay: time.Hour})
		send(t, s, 7)
		synctest.Wait()
		if got := s.Stats(); got != (client.Stats{Queued: 7}) {
			t.Errorf("Stats before Close = %+v; want 7 queued", got)
		}
		start := time.Now()
		closeNow(t, s)
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v; want it not to wait for the delay", took)
		}
		if got := s.Stats(); got != (client.Stats{Accepted: 7}) {
			t.Errorf("Stats after Close = %+v; want 7 accepted", got)
		}
		if err := s.Send(t.Context(), click("late")); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Send after Close = %v; want %v", err, client.ErrClosed)
		}
		if got := s.Stats().Dropped; got != (client.Drops{Closed: 1}) {
			t.Errorf("Dropped = %+v; want the late one", got)
		}
		closeNow(t, s) // again
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		type refusal struct {
			Session, Receipt string
			Codes            []string
		}
		var got []refusal
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
			OnRefused: func(e client.Event, receipt string, why []client.Violation) {
				r := refusal{Session: e.SessionID, Receipt: receipt}
				for _, v := range why {
					r.Codes = append(r.Codes, v.Pointer+" "+v.Code)
				}
				got = append(got, r)
			},
		})
		bad := click("bad")
		bad.Data = []int{1}
		nameless := click("nameless")
		nameless.Name = ""
		for _, e := range []client.Event{click("a"), bad, click("b"), nameless} {
			if err := s.Send(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		closeNow(t, s)
		want := []refusal{{"bad", "r2", []string{"/data type"}}, {"nameless", "r4", []string{"/name too_long"}}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("OnRefused (-want +got):\n%s", d)
		}
		if got, want := s.Stats(), (client.Stats{Accepted: 2, Refused: 2}); got != want {
			t.Errorf("Stats = %+v; want %+v", got, want)
		}
	})
}

func TestAllRefused(t *testing.T) {
	for n := 1; n <= 3; n++ {
		synctest.Test(t, func(t *testing.T) {
			s := over(t, clienttest.New(), client.Options{}).NewSender(client.SenderOptions{})
			for range n {
				if err := s.Send(t.Context(), client.Event{Name: "only a name"}); err != nil {
					t.Fatal(err)
				}
			}
			closeNow(t, s)
			if got, want := s.Stats(), (client.Stats{Refused: int64(n)}); got != want {
				t.Errorf("%d bad events: Stats = %+v; want %+v", n, got, want)
			}
		})
	}
}

func TestFullQueue(t *testing.T) {
	// stuck never answers.
	stuck := func(w http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	t.Run("Send waits until its context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = stuck
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{QueueEvents: 3, BatchDelay: -1})
			send(t, s, 3)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			err := s.Send(ctx, click("x"))
			if !errors.Is(err, client.ErrQueueFull) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("Send into a full queue = %v after %v; want ErrQueueFull after 1s", err, time.Since(start))
			}
			if got, want := s.Stats(), (client.Stats{Queued: 3, Dropped: client.Drops{QueueFull: 1}}); got != want {
				t.Errorf("Stats = %+v; want %+v", got, want)
			}
			closeShort(t, s, 3)
		})
	})
	t.Run("Send goes on when there is room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = failing(1, http.StatusServiceUnavailable, "Retry-After", "10")
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{QueueEvents: 1, BatchDelay: -1})
			start := time.Now()
			send(t, s, 2)
			if took := time.Since(start); took < 10*time.Second {
				t.Errorf("the second Send took %v; want it to wait for the first event", took)
			}
			closeNow(t, s)
		})
	})
	t.Run("bytes fill it too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = stuck
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{QueueBytes: 10_000, DropWhenFull: true, BatchDelay: -1})
			big := click("big")
			big.Data = map[string]string{"x": string(make([]byte, 1000))} // 6,000 bytes of \u0000
			if err := s.Send(t.Context(), big); err != nil {
				t.Fatal(err)
			}
			if err := s.Send(t.Context(), big); !errors.Is(err, client.ErrQueueFull) {
				t.Errorf("second Send = %v; want %v", err, client.ErrQueueFull)
			}
			send(t, s, 1) // a small one still fits
			big.Data = map[string]string{"x": string(make([]byte, 2000))}
			if err := s.Send(t.Context(), big); !errors.Is(err, client.ErrTooLarge) {
				t.Errorf("Send of an event larger than the queue = %v; want %v", err, client.ErrTooLarge)
			}
			want := client.Stats{Queued: 2, Dropped: client.Drops{QueueFull: 1, Invalid: 1}}
			if got := s.Stats(); got != want {
				t.Errorf("Stats = %+v; want %+v", got, want)
			}
			closeShort(t, s, 2)
		})
	})
	t.Run("DropWhenFull does not wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = stuck
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{QueueEvents: 2, DropWhenFull: true})
			send(t, s, 2)
			start := time.Now()
			if err := s.Send(t.Context(), click("x")); !errors.Is(err, client.ErrQueueFull) || time.Since(start) != 0 {
				t.Errorf("Send = %v after %v; want ErrQueueFull at once", err, time.Since(start))
			}
			closeShort(t, s, 2)
		})
	})
	t.Run("Close wakes who waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := clienttest.New()
			server.Intercept = stuck
			s := over(t, server, client.Options{}).NewSender(client.SenderOptions{QueueEvents: 1})
			send(t, s, 1)
			var err error
			var wg sync.WaitGroup
			wg.Go(func() { err = s.Send(t.Context(), click("x")) })
			synctest.Wait()
			closeShort(t, s, 1)
			wg.Wait()
			if !errors.Is(err, client.ErrClosed) {
				t.Errorf("Send during Close = %v; want %v", err, client.ErrClosed)
			}
		})
	})
}

// closeShort closes with too little time for the n events in the queue.
func closeShort(t *testing.T, s *client.Sender, n int64) {
	t.Helper()
	before := s.Stats()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	err := s.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
		t.Errorf("Close = %v after %v; want a deadline exceeded after 1s", err, time.Since(start))
	}
	got := s.Stats()
	if lost := got.Dropped.Closed - before.Dropped.Closed; got.Queued != 0 || lost < n {
		t.Errorf("Stats after Close = %+v; want %d more dropped, none queued", got, n)
	}
}

func TestCloseCutsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.New()
		server.Intercept = failing(1000, http.StatusBadGateway)
		var dropped []string
		s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
			BatchEvents: 2, BatchDelay: -1,
			OnDropped: func(e client.Event, err error) { dropped = append(dropped, e.SessionID) },
		})
		send(t, s, 5)
		closeShort(t, s, 5)
		if want := []string{"s0", "s1", "s2", "s3", "s4"}; !slices.Equal(dropped, want) {
			t.Errorf("OnDropped was told %v; want %v", dropped, want)
		}
	})
}

func TestSendTakesACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(t, clienttest.New(), client.Options{})
		s := c.NewSender(client.SenderOptions{})
		data := map[string]any{"n": 1}
		e := click("s")
		e.Data = data
		if err := s.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		data["n"] = 2
		closeNow(t, s)
		for stored, err := range c.Events(t.Context(), client.Filter{}) {
			if err != nil || string(stored.Data) != `{"n":1}` {
				t.Errorf("stored %s, %v; want what Data was at Send", stored.Data, err)
			}
		}
	})
}

// Every event that was handed to Send ends in exactly one count, whatever
// happens and however many send at a time.
func TestEveryEventIsAccountedFor(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := clienttest.New()
				var mu sync.Mutex
				var n int
				server.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
					mu.Lock()
					n++
					turn := n
					mu.Unlock()
					switch turn % 7 {
					case 1:
						w.WriteHeader(http.StatusServiceUnavailable)
					case 3:
						cut()
					case 5:
						w.WriteHeader(http.StatusUnauthorized)
					default:
						return false
					}
					return true
				}
				var refused, dropped int64
				var told sync.Mutex
				s := over(t, server, client.Options{}).NewSender(client.SenderOptions{
					Workers: workers, QueueEvents: 50, BatchEvents: 7, BatchDelay: time.Millisecond, DropWhenFull: true,
					OnRefused: func(client.Event, string, []client.Violation) { told.Lock(); refused++; told.Unlock() },
					OnDropped: func(client.Event, error) { told.Lock(); dropped++; told.Unlock() },
				})
				const senders, each = 5, 200
				var wg sync.WaitGroup
				for g := range senders {
					wg.Go(func() {
						for i := range each {
							e := click(fmt.Sprintf("%d-%d", g, i))
							switch i % 10 {
							case 3:
								e.Category = ""
							case 7:
								e.Data = func() {}
							}
							s.Send(t.Context(), e) // what it says is in the counts
							if i%20 == 0 {
								time.Sleep(200 * time.Millisecond)
							}
							st := s.Stats()
							if st.Queued < 0 || st.Queued > 50 {
								t.Errorf("%d queued; want 0 to 50", st.Queued)
							}
						}
					})
				}
				wg.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				s.Close(ctx)
				st := s.Stats()
				if total := st.Queued + st.Accepted + st.Refused + st.Dropped.Total(); total != senders*each || st.Queued != 0 {
					t.Errorf("Stats = %+v account for %d events; want %d, none queued", st, total, senders*each)
				}
				if st.Refused != refused {
					t.Errorf("%d refused, but OnRefused was told %d", st.Refused, refused)
				}
				if told := st.Dropped.Denied + st.Dropped.GaveUp; dropped < told {
					t.Errorf("%d dropped from the queue, but OnDropped was told %d", told, dropped)
				}
				if st.Accepted == 0 || st.Refused == 0 || st.Dropped.Denied == 0 || st.Dropped.Invalid != senders*each/10 {
					t.Errorf("Stats = %+v; want some of each, or this test shows nothing", st)
				}
			})
		})
	}
}
