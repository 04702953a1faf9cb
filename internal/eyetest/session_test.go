package eyetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/eyetest"
)

func TestTheThreeSampleEventsComeBackInOrder(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	var wrong []json.RawMessage
	if err := json.Unmarshal(corpus(t, "session-three.json"), &wrong); err != nil {
		t.Fatal(err)
	}
	for _, e := range wrong {
		s.PostWait(t, key, string(e)).Want(t, 200)
	}
	got := s.List(t, key, "/v1/sessions/e2085be5-9137-4e4e-80b5-f1ffddc25423/events")
	if ids(got) != "e-1 e-2 e-3" {
		t.Errorf("the session is %s; want e-1 e-2 e-3", ids(got))
	}
	for i, e := range got {
		if e.Position != int64(i+1) || e.Application != "web-shop" {
			t.Errorf("event %d = position %d of %s; want %d of web-shop", i, e.Position, e.Application, i+1)
		}
	}
	if got[0].Timestamp != "2021-01-01T09:15:27.243820Z" {
		t.Errorf("timestamp = %s; want 2021-01-01T09:15:27.243820Z", got[0].Timestamp)
	}
}

func TestALateEventTakesItsPlace(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	s.PostWait(t, key, batch(pageView("a", "s", 10), pageView("c", "s", 30))).Want(t, 200)
	s.PostWait(t, key, batch(pageView("d", "s", 40))).Want(t, 200)
	s.PostWait(t, key, pageView("b", "s", 20)).Want(t, 200)
	got := s.List(t, key, "/v1/sessions/s/events")
	if ids(got) != "a b c d" || got[3].Position != 4 {
		t.Errorf("the session is %s, the last at position %d; want a b c d, 4", ids(got), got[3].Position)
	}
	// One event alone knows its place too, and so does every list.
	var one eyetest.Event
	s.Get(t, key, "/v1/events/web-shop/c").Want(t, 200).JSON(t, &one)
	if one.Position != 3 {
		t.Errorf("event c alone is at position %d; want 3", one.Position)
	}
	if newest := s.List(t, key, "/v1/events"); ids(newest) != "d c b a" || newest[0].Position != 4 {
		t.Errorf("the newest are %s, the first at position %d; want d c b a, 4", ids(newest), newest[0].Position)
	}
}

func TestEqualTimestampsAreOrderedBySequenceThenArrival(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	tie := func(id, sequence string) string {
		return fmt.Sprintf(`{"id":%q,"session_id":"s","category":"c","name":"n","data":{},"timestamp":"2021-01-01T09:00:00Z"%s}`, id, sequence)
	}
	for _, e := range []string{
		tie("ten", `,"sequence":10`), tie("two-first", `,"sequence":2`), tie("none-first", ""), tie("zero", `,"sequence":0`),
		tie("none-second", ""), tie("two-second", `,"sequence":2`),
	} {
		s.PostWait(t, key, e).Want(t, 200)
	}
	want := "none-first none-second zero two-first two-second ten"
	if got := ids(s.List(t, key, "/v1/sessions/s/events")); got != want {
		t.Errorf("the session is %s; want %s", got, want)
	}
	if got := ids(s.Restart(t).List(t, key, "/v1/sessions/s/events")); got != want {
		t.Errorf("after a restart the session is %s; want %s", got, want)
	}
}

func TestReadersSeeWhatTheyMay(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	shop, checkout := s.NewApplication(t, "web-shop", all...), s.NewApplication(t, "checkout", all...)
	sender := s.NewApplication(t, "sender", "events:write")
	analyst := s.NewApplication(t, "analyst", "events:read:all")
	s.PostWait(t, shop, batch(pageView("a", "s", 1), pageView("c", "s", 3), pageView("only", "shop's own", 9))).Want(t, 200)
	var sent eyetest.Accepted
	s.PostWait(t, checkout, pageView("b", "s", 2)).Want(t, 200).JSON(t, &sent)
	s.PostWait(t, checkout, pageView("a", "s", 4)).Want(t, 200) // ids are unique within an application

	for _, c := range []struct {
		name, key, session, sessions, events string
	}{
		{"the shop", shop, "a c", "web-shop", "only c a"},
		{"checkout", checkout, "b a", "checkout", "a b"},
		{"an analyst", analyst, "a b c a", "checkout web-shop", "only a c b a"},
		{"the operator", s.Key, "a b c a", "checkout web-shop", "only a c b a"},
	} {
		if got := ids(s.List(t, c.key, "/v1/sessions/s/events")); got != c.session {
			t.Errorf("%s sees the session as %s; want %s", c.name, got, c.session)
		}
		if got := ids(s.List(t, c.key, "/v1/events")); got != c.events {
			t.Errorf("%s sees the events %s; want %s", c.name, got, c.events)
		}
		var session struct {
			Events       int
			Applications []string
		}
		s.Get(t, c.key, "/v1/sessions/s").Want(t, 200).JSON(t, &session)
		if got := fmt.Sprint(session.Applications); got != "["+c.sessions+"]" {
			t.Errorf("%s sees the session of %s; want %s", c.name, got, c.sessions)
		}
	}

	// Of another's things nobody learns even that they are there.
	for _, path := range []string{
		"/v1/events/web-shop/a", "/v1/events/web-shop/missing", "/v1/sessions/" + url.PathEscape("shop's own"),
		"/v1/sessions/" + url.PathEscape("shop's own") + "/events", "/v1/sessions/missing", "/v1/sessions/missing/events",
	} {
		problemOf(t, s.Get(t, checkout, path), 404)
	}
	problemOf(t, s.Get(t, shop, "/v1/receipts/"+sent.Receipt), 404)
	problemOf(t, s.Get(t, sender, "/v1/receipts/"+sent.Receipt), 404)
	if got := s.Receipt(t, analyst, sent.Receipt); got.Event == nil || got.Event.ID != "b" {
		t.Errorf("the analyst is told %+v of a receipt; want event b", got)
	}
	if got := ids(s.List(t, shop, "/v1/events?application=checkout")); got != "" {
		t.Errorf("the shop sees %s of checkout; want nothing", got)
	}
	for path, status := range map[string]int{"/v1/events": 403, "/v1/live": 403, "/v1/sessions": 403, "/v1/quarantine": 403, "/v1/applications": 403} {
		problemOf(t, s.Get(t, sender, path), status)
		problemOf(t, s.Get(t, "", path), 401)
		problemOf(t, s.Get(t, "eye_wrong", path), 401)
	}
	problemOf(t, s.Post(t, analyst, pageView("x", "s", 1)), 403)
}

// A cursor stays good while events keep arriving, and neither repeats nor skips
// what was there when the first page was read.
func TestPagesNeitherRepeatNorSkipWhileEventsArrive(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	random := rand.New(rand.NewPCG(1, 2))
	micros := func() int { return random.IntN(50) } // few, so that many are equal
	var there []string
	for i := range 20 {
		var events []string
		for k := range 15 {
			id := fmt.Sprintf("before-%d-%d", i, k)
			there = append(there, id)
			events = append(events, pageView(id, "s", micros()))
		}
		s.PostWait(t, key, batch(events...)).Want(t, 200)
	}
	for _, path := range []string{"/v1/events?limit=7", "/v1/events?order=asc&limit=7", "/v1/sessions/s/events?limit=7"} {
		t.Run(path, func(t *testing.T) {
			var arriving sync.WaitGroup
			defer arriving.Wait()
			seen := map[string]int{}
			next := ""
			for n := 0; ; n++ {
				var page struct {
					Items []eyetest.Event
					Next  *string
				}
				s.Get(t, key, path+next).Want(t, 200).JSON(t, &page)
				for _, e := range page.Items {
					seen[e.ID]++
				}
				if page.Next == nil {
					break
				}
				next = "&cursor=" + url.QueryEscape(*page.Next)
				if n < 60 { // or the pages might never end
					more := batch(pageView(fmt.Sprintf("%s-%d", path, n), "s", micros()), pageView(fmt.Sprintf("%s-%d'", path, n), "s", 60+n))
					arriving.Go(func() {
						if a, err := s.Try(t, "POST", "/v1/events", key, []byte(more), "Prefer", "wait=30"); err != nil || a.Status != 200 {
							t.Errorf("sending meanwhile: %v, %+v", err, a)
						}
					})
				}
			}
			for _, id := range there {
				if seen[id] != 1 {
					t.Errorf("event %s was shown %d times; want once", id, seen[id])
				}
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("event %s was shown %d times; want once", id, n)
				}
			}
		})
	}
}

func TestSessionsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	var events []string
	for i := range 30 {
		events = append(events, pageView(fmt.Sprintf("e-%d", i), fmt.Sprintf("s-%02d", i), 10*i))
	}
	s.PostWait(t, key, batch(events...)).Want(t, 200)
	s.PostWait(t, key, pageView("late", "s-07", 5)).Want(t, 200)
	type session struct {
		SessionID string `json:"session_id"`
		Events    int    `json:"events"`
	}
	var got, want []session
	next := ""
	for {
		var page struct {
			Items []session
			Next  *string
		}
		s.Get(t, key, "/v1/sessions?limit=4"+next).Want(t, 200).JSON(t, &page)
		if got = append(got, page.Items...); page.Next == nil {
			break
		}
		next = "&cursor=" + url.QueryEscape(*page.Next)
	}
	for i := range 30 {
		if i != 7 { // it now begins early
			want = append(want, session{fmt.Sprintf("s-%02d", i), 1})
		}
	}
	want = slices.Insert(want, 1, session{"s-07", 2})
	slices.Reverse(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
}
