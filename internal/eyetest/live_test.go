package eyetest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/eyetest"
)

// wantNext fails the test unless the next events of the stream are these.
func wantNext(t *testing.T, stream *eyetest.Stream, want ...string) {
	t.Helper()
	for i, id := range want {
		e, ok := stream.Next()
		if !ok || e.ID != id {
			t.Fatalf("live event %d is %q, %v; want %q", i, e.ID, ok, id)
		}
	}
}

func TestLiveShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	shop, checkout := s.NewApplication(t, "web-shop", all...), s.NewApplication(t, "checkout", all...)
	s.PostWait(t, shop, pageView("before", "s", 1)).Want(t, 200)
	streams := map[string]*eyetest.Stream{
		"everything":  s.Live(t, s.Key, "", ""),
		"the shop":    s.Live(t, shop, "", ""),
		"checkout":    s.Live(t, checkout, "", ""),
		"another's":   s.Live(t, checkout, "?application=web-shop", ""),
		"a session":   s.Live(t, s.Key, "?session_id=t", ""),
		"a path":      s.Live(t, s.Key, "?data.cart.lines.1.sku=B", ""),
		"a number":    s.Live(t, s.Key, "?data.cart.total=1.50", ""),
		"a category":  s.Live(t, s.Key, "?category=cart&name=changed", ""),
		"a time span": s.Live(t, s.Key, "?from=2021-01-01T09:00:00.000005Z&to=2021-01-01T09:00:00.000007Z", ""),
	}
	s.PostWait(t, shop, batch(pageView("a", "s", 5), pageView("b", "t", 6), pageView("b", "t", 6))).Want(t, 200) // one is a duplicate
	s.PostWait(t, checkout, batch(
		`{"id":"c","session_id":"s","category":"cart","name":"changed","data":{"cart":{"lines":[{"sku":"A"},{"sku":"B"}],"total":1.50}},"timestamp":"2021-01-01T09:00:00.000007Z"}`,
		`{"id":"d","session_id":"s","category":"cart","name":"changed","data":{"cart":{"lines":[{"sku":"B"}],"total":1.5}},"timestamp":"2021-01-01T09:00:00.000008Z"}`,
		`{"id":"refused"}`,
	)).Want(t, 200)
	s.PostWait(t, shop, batch(pageView("end", "t", 6))).Want(t, 200)
	s.PostWait(t, checkout, `{"id":"end","session_id":"t","category":"cart","name":"changed","data":{"cart":{"lines":[{},{"sku":"B"}],"total":1.50}},"timestamp":"2021-01-01T09:00:00.000006Z"}`).Want(t, 200)
	for name, want := range map[string]string{
		"everything": "a b c d end end", "the shop": "a b end", "checkout": "c d end", "a session": "b end end",
		"a path": "c end", "a number": "c end", "a category": "c d end", "a time span": "a b end end",
	} {
		t.Run(name, func(t *testing.T) { wantNext(t, streams[name], strings.Fields(want)...) })
	}
	// There is nothing to see of another's, and so nothing comes before the end.
	go s.Interrupt()
	if e, ok := streams["another's"].Next(); ok {
		t.Errorf("checkout is shown %s of the shop", e.ID)
	}
}

func TestLiveResumesAcrossARestart(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	stream := s.Live(t, key, "", "")
	s.PostWait(t, key, batch(pageView("a", "s", 1), pageView("b", "s", 2), pageView("c", "s", 3))).Want(t, 200)
	wantNext(t, stream, "a", "b")
	stream.Close()

	s.PostWait(t, key, pageView("d", "s", 0)).Want(t, 200)
	again := s.Live(t, key, "", stream.Last)
	wantNext(t, again, "c", "d")
	again.Close()

	var missed []string
	for i := range 30 { // more than a page of what was missed
		var events []string
		for k := range 20 {
			id := fmt.Sprintf("m-%d-%d", i, k)
			missed, events = append(missed, id), append(events, pageView(id, "s", i))
		}
		s.PostWait(t, key, batch(events...)).Want(t, 200)
	}
	s = s.Restart(t)
	s.PostWait(t, key, pageView("new", "s", 4)).Want(t, 200)
	last := s.Live(t, key, "", again.Last)
	wantNext(t, last, append(missed, "new")...)
	s.PostWait(t, key, pageView("newer", "s", 5)).Want(t, 200)
	wantNext(t, last, "newer")

	problemOf(t, s.Do(t, "GET", "/v1/live", key, nil, "Last-Event-ID", "nonsense"), 400)
}

func TestLiveForManyReadersOneOfThemSlow(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	// It takes no byte until the end; the buffers between fill up.
	slow := s.Live(t, key, "", "")
	const readers = 200
	streams := make([]*eyetest.Stream, readers)
	for i := range streams {
		streams[i] = s.Live(t, key, "", "")
	}
	if got := s.Metric(t, "eye_http_requests_in_flight", `route="/v1/live"`); got != readers+1 {
		t.Errorf("the metrics count %v readers; want %d", got, readers+1)
	}
	var want []string
	began := time.Now()
	for i := range 10 {
		var events []string
		for k := range 10 {
			id := fmt.Sprintf("e-%d-%d", i, k)
			want = append(want, id)
			events = append(events, fmt.Sprintf(`{"id":%q,"session_id":"s","category":"c","name":"n","data":{"fill":%q},"timestamp":"2021-01-01T00:00:00Z"}`,
				id, strings.Repeat("x", 100<<10)))
		}
		s.PostWait(t, key, batch(events...)).Want(t, 200)
	}
	// 10 MB for each, which is more than a connection holds. Two of the readers
	// take all of it, the others are there.
	for _, stream := range streams[:2] {
		wantNext(t, stream, want...)
	}
	t.Logf("after %v two of %d readers have it all", time.Since(began), readers)
	wantNext(t, streams[readers-1], want[:3]...)
	for i := range 10 {
		if e, ok := slow.Next(); !ok || e.ID != want[i] {
			t.Fatalf("the slow reader is shown %q, %v; want %q", e.ID, ok, want[i])
		}
	}
	for _, stream := range append(streams, slow) {
		stream.Close()
	}
	eyetest.Eventually(t, "no reader is left", func() bool {
		return s.Metric(t, "eye_http_requests_in_flight", `route="/v1/live"`) == 0
	})
	works(t, s, key)
}
