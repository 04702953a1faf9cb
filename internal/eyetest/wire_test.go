package eyetest_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/config"
	"github.com/the-eye/eye/internal/eyetest"
)

// wire is a connection on which a test writes what it likes.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, s *eyetest.Service) *wire {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &wire{c, bufio.NewReader(c)}
}

func (w *wire) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// answer reads the next answer.
func (w *wire) answer() (*eyetest.Answer, error) {
	a, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return &eyetest.Answer{Status: a.StatusCode, Header: a.Header, Body: text}, err
}

// head is the head of a POST with those headers more.
func head(key string, headers ...string) string {
	return "POST /v1/events HTTP/1.1\r\nHost: eye\r\nContent-Type: application/json\r\nAuthorization: Bearer " + key + "\r\n" +
		strings.Join(append(headers, "", ""), "\r\n")
}

func length(body string) string { return fmt.Sprintf("Content-Length: %d", len(body)) }

func TestSlowBodies(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t, func(c *config.Config) { c.ReadTimeout = time.Second })
	key := s.NewApplication(t, "web-shop", all...)
	var slow sync.WaitGroup
	for range 20 {
		w := dial(t, s)
		w.send(t, head(key, "Content-Length: 1000"))
		slow.Go(func() { // one byte at a time, as long as somebody listens
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := w.Write([]byte(" ")); err != nil {
					return
				}
			}
		})
		slow.Go(func() {
			defer w.Close()
			a, err := w.answer()
			if err != nil {
				t.Errorf("a slow body gets no answer: %v", err)
				return
			}
			problemOf(t, a, 408)
			if _, err := w.r.ReadByte(); err == nil {
				t.Error("the connection goes on after half a body; want its end")
			}
		})
	}
	works(t, s, key) // meanwhile
	slow.Wait()
	works(t, s, key)
}

func TestCutConnections(t *testing.T) {
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	works(t, s, key)
	s.Client.CloseIdleConnections()
	before := runtime.NumGoroutine()
	body := pageView("cut", "s", 1)
	for i := range 50 {
		w := dial(t, s)
		w.send(t, head(key, length(body))+body[:i])
		w.Close()
		w = dial(t, s)
		w.send(t, head(key, "Transfer-Encoding: chunked")+fmt.Sprintf("%x\r\n%s\r\n", i+1, body[:i+1]))
		w.Close()
		w = dial(t, s)
		w.send(t, head(key, length(body), "Prefer: wait=30")+body) // whole, but nobody reads
		w.Close()
	}
	// Who says that the body has ended, and still listens, is told.
	w := dial(t, s)
	w.send(t, head(key, length(body))+body[:40])
	w.Conn.(*net.TCPConn).CloseWrite()
	a, err := w.answer()
	if err != nil {
		t.Fatalf("half a body gets no answer: %v", err)
	}
	problemOf(t, a, 400)
	w.Close()
	works(t, s, key)
	s.Client.CloseIdleConnections()
	eyetest.Eventually(t, "no goroutine is left behind", func() bool { return runtime.NumGoroutine() <= before })
	if got := s.Metric(t, "eye_ingest_in_flight_bytes"); got != 0 {
		t.Errorf("requests still hold %v bytes", got)
	}
	if got := len(s.List(t, key, "/v1/sessions/s/events")); got > 1 {
		t.Errorf("the event that was sent whole is there %d times; want at most once", got)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	body := pageView("e", "s", 1)
	for _, c := range []struct {
		name, text string
		status     int
		ours       bool // the request came as far as our own code; before it, net/http answers in plain text
	}{
		{"chunks that are no chunks", head(key, "Transfer-Encoding: chunked") + "ZZZ\r\nhello\r\n", 400, true},
		{"a chunk of exabytes", head(key, "Transfer-Encoding: chunked") + "FFFFFFFFFFFFFFFFFF\r\n{", 400, true},
		{"a negative chunk", head(key, "Transfer-Encoding: chunked") + "-5\r\n{", 400, true},
		{"a chunk without its end", head(key, "Transfer-Encoding: chunked") + "2\r\n{}x\r\n0\r\n\r\n", 400, true},
		{"a length of exabytes", head(key, "Content-Length: 9223372036854775807"), 413, true},
		{"a length beyond 64 bits", head(key, "Content-Length: 92233720368547758070"), 400, false},
		{"two lengths", head(key, "Content-Length: 2", "Content-Length: 3") + "{}", 400, false},
		{"an unknown transfer coding", head(key, "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", 501, false},
		{"no host", "GET /v1/events HTTP/1.1\r\n\r\n", 400, false},
		{"no request", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400, false},
		{"huge headers", head(key, "X-Large: "+strings.Repeat("x", 200<<10)), 431, false},
		{"many headers", head(key, strings.Repeat("X-Many: 1\r\n", 20_000)+"X-Last: 1"), 431, false},
		{"a path of 100 kB", "GET /" + strings.Repeat("x", 100<<10) + " HTTP/1.1\r\nHost: eye\r\n\r\n", 431, false},
		{"a path of 20 kB", "GET /" + strings.Repeat("x", 20<<10) + " HTTP/1.1\r\nHost: eye\r\n\r\n", 404, true},
		{"a NUL in the path", "GET /v1/events\x00 HTTP/1.1\r\nHost: eye\r\n\r\n", 400, false},
		{"an unknown method", "FETCH /v1/events HTTP/1.1\r\nHost: eye\r\n\r\n", 405, true},
		{"CONNECT", "CONNECT eye:80 HTTP/1.1\r\nHost: eye:80\r\n\r\n", 404, true},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: eye\r\n\r\n", 200, false},
		{"a credential of 20 kB", "GET /v1/events HTTP/1.1\r\nHost: eye\r\nAuthorization: Bearer " + strings.Repeat("x", 20<<10) + "\r\n\r\n", 401, true},
		{"two credentials", "GET /v1/events HTTP/1.1\r\nHost: eye\r\nAuthorization: Bearer x\r\nAuthorization: Bearer " + key + "\r\n\r\n", 401, true},
		{"an expectation nobody has", head(key, "Expect: the-spanish-inquisition", "Content-Length: 0"), 417, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := dial(t, s)
			io.WriteString(w, c.text) // the server may close before it has read all
			a, err := w.answer()
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if c.ours {
				problemOf(t, a, c.status)
			} else if a.Status != c.status || inner.Match(a.Body) {
				t.Errorf("answer %d %.200s; want %d", a.Status, a.Body, c.status)
			}
		})
	}

	t.Run("pipelining", func(t *testing.T) {
		w := dial(t, s)
		var text bytes.Buffer
		for i := range 5 {
			good := pageView(fmt.Sprintf("p-%d", i), "pipelined", i)
			fmt.Fprintf(&text, "%s%s%s%s", head(key, length(good)), good, head(key, length("not json")), "not json")
		}
		w.send(t, text.String())
		for i := range 10 {
			a, err := w.answer()
			if want := []int{202, 400}[i%2]; err != nil || a.Status != want {
				t.Fatalf("answer %d is %+v, %v; want %d", i, a, err, want)
			}
		}
	})
	t.Run("a body nobody asked for", func(t *testing.T) {
		w := dial(t, s)
		w.send(t, "GET /v1/events HTTP/1.1\r\nHost: eye\r\nAuthorization: Bearer "+key+"\r\n"+length(body)+"\r\n\r\n"+body)
		if a, err := w.answer(); err != nil || a.Status != 200 {
			t.Errorf("answer %+v, %v; want 200", a, err)
		}
	})
	works(t, s, key)
}

func TestPathsAndQueries(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	odd := `../../etc/passwd?x=1#y%2F 😀\u0000\u202e/`
	event := fmt.Sprintf(`{"id":"%s","session_id":"%s","category":"a/b","name":"%s","data":{"a.b":1,"a":{"b":"x y&z"}},"timestamp":"2021-01-01T00:00:00Z"}`, odd, odd, odd)
	s.PostWait(t, key, event).Want(t, 200)
	id := "../../etc/passwd?x=1#y%2F 😀\x00\u202e/"
	var got eyetest.Event
	s.Get(t, key, "/v1/events/web-shop/"+escape(id)).Want(t, 200).JSON(t, &got)
	if got.ID != id || got.SessionID != id || got.Category != "a/b" {
		t.Errorf("read back %+v; want id and session %q", got, id)
	}
	for _, path := range []string{
		"/v1/sessions/" + escape(id), "/v1/sessions/" + escape(id) + "/events", "/v1/events?session_id=" + escape(id),
		"/v1/events?category=a%2Fb&name=" + escape(id), "/v1/events?data.a.b=x+y%26z", "/v1/sessions?contains=a%252Fb/" + escape(id),
	} {
		a := s.Get(t, key, path)
		if a.Status != 200 && strings.Contains(path, "contains") {
			anyProblem(t, a) // a category with a slash cannot be written there
		} else if a.Status != 200 || !bytes.Contains(a.Body, []byte(`etc/passwd`)) {
			t.Errorf("GET %s = %d %.300s; want the event", path, a.Status, a.Body)
		}
	}
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/v1/events/web-shop/" + long, 404},
		{"/v1/events/web-shop/%00", 404},
		{"/v1/events/..%2f..%2f/x", 404},
		{"/v1/events/web-shop/a%2fb/c", 404},
		{"/v1/sessions/%00", 404},
		{"/v1/sessions/" + long + "/events", 404},
		{"/v1/sessions//events", 404},
		{"/v1/receipts/%00%ff", 404},
		{"/v1/events?session_id=%ff", 400},
		{"/v1/events?session_id=%zz", 400},
		{"/v1/events?session_id=" + long, 400},
		{"/v1/events?session_id=", 400},
		{"/v1/events?session_id=a;b", 400},
		{"/v1/events?data.=1", 400},
		{"/v1/events?data.a..b=1", 400},
		{"/v1/events?data." + strings.Repeat("a.", 100) + "b=1", 400},
		{"/v1/events?data.a=" + long, 400},
		{"/v1/events?" + strings.Repeat("x=1&", 5000), 400},
		{"/v1/events?" + manyPaths(100), 400},
		{"/v1/events?limit=0", 400},
		{"/v1/events?limit=1001", 400},
		{"/v1/events?limit=99999999999999999999", 400},
		{"/v1/events?limit=1e2", 400},
		{"/v1/events?cursor=x", 400},
		{"/v1/events?cursor=" + long, 400},
		{"/v1/events?cursor=%00", 400},
		{"/v1/events?from=yesterday", 400},
		{"/v1/events?from=2021-01-02T00:00:00Z&to=2021-01-01T00:00:00Z", 400},
		{"/v1/events?order=up", 400},
		{"/v1/live?session=x", 400},
		{"/v1/nothing", 404},
		{"/", 404},
		{"/etc/passwd", 404},
		{"/%2e%2e/%2e%2e/etc/passwd", 404},
	} {
		a := s.Get(t, key, c.path)
		if len(c.path) > 100 {
			c.path = c.path[:100] + "…"
		}
		if a.Status != c.status {
			t.Errorf("GET %s = %d; want %d\n%.300s", c.path, a.Status, c.status, a.Body)
			continue
		}
		anyProblem(t, a)
	}
	// A quote in a value is a value, wherever it goes.
	for _, value := range []string{`'; DROP TABLE events; --`, `"`, `\`, `%`, `_`, `$.a`, "\x00", "😀"} {
		for _, path := range []string{"/v1/events?session_id=", "/v1/events?data.a.b=", "/v1/events?application=", "/v1/events?data." + escape(value) + "="} {
			s.Get(t, key, path+escape(value)).Want(t, 200)
		}
	}
	for method, path := range map[string]string{
		"PUT": "/v1/events", "DELETE": "/v1/events", "PATCH": "/v1/sessions", "POST": "/v1/live", "TRACE": "/v1/events", "OPTIONS": "/v1/events",
	} {
		if a := s.Do(t, method, path, key, nil); a.Header.Get("Allow") == "" {
			t.Errorf("%s %s answers without Allow", method, path)
		} else {
			problemOf(t, a, 405)
		}
	}
	if got := s.Do(t, "HEAD", "/v1/events", key, nil); got.Status != 200 || len(got.Body) > 0 {
		t.Errorf("HEAD = %d with %d bytes; want 200 with none", got.Status, len(got.Body))
	}
	works(t, s, key)
}

// Whatever bytes a reader puts into a path, the engine of the store gets text.
func TestPathsThatAreNoText(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	works(t, s, key)
	for _, path := range []string{
		"/v1/sessions/%ff", "/v1/sessions/%ff/events", "/v1/events/web-shop/%ff%fe", "/v1/events/%ff/%ff",
		"/v1/receipts/%ff", "/v1/applications/%ff", "/v1/quarantine/%ff",
	} {
		problemOf(t, s.Get(t, s.Key, path), 404)
	}
	works(t, s, key)
}

// A cursor is no secret: whoever makes one up gets a page or a refusal.
func TestForgedCursors(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	s.PostWait(t, key, batch(pageView("a", "s", 1), pageView("b", "t", 2), pageView("c", "u", 3))).Want(t, 200)
	s.Post(t, key, batch("{}", "{}", "{}")).Want(t, 422)
	eyetest.Eventually(t, "the refused are in quarantine", func() bool {
		return s.Metric(t, "eye_process_records_total", `disposition="quarantined"`) == 3
	})
	for _, path := range []string{"/v1/events?limit=1", "/v1/events?limit=1&order=asc", "/v1/sessions?limit=1", "/v1/sessions/s/events?limit=1", "/v1/quarantine?limit=1"} {
		var page struct{ Next *string }
		s.Get(t, s.Key, path).Want(t, 200).JSON(t, &page)
		if page.Next == nil {
			if !strings.Contains(path, "/s/") {
				t.Errorf("GET %s has no next", path)
			}
			continue
		}
		real, err := base64.RawURLEncoding.DecodeString(*page.Next)
		if err != nil {
			t.Fatal(err)
		}
		for _, fill := range []string{"\x00", "\x7f", "\x80", "\xff", "\x01"} {
			for n := 1; n <= len(real)-9; n++ {
				forged := append(bytes.Clone(real[:9]), bytes.Repeat([]byte(fill), n)...)
				if n < len(real)-9 {
					forged = append(forged, real[9+n:]...)
				}
				if a := s.Get(t, s.Key, path+"&cursor="+base64.RawURLEncoding.EncodeToString(forged)); a.Status != 200 {
					anyProblem(t, a)
				}
			}
		}
	}
	works(t, s, key)
}

// manyPaths is a query that asks for n payload paths.
func manyPaths(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "data.p%d=1&", i)
	}
	return b.String()
}
