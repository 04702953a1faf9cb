package eyetest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/the-eye/eye/internal/eyetest"
)

// What an application sends as data comes back byte for byte: the text of
// numbers, the order of keys, escapes, even the spaces.
func TestDataComesBackByteForByte(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	files, err := filepath.Glob("../../testdata/corpus/*json")
	if err != nil || len(files) < 20 {
		t.Fatalf("the corpus has %d files, %v; want 20 or more", len(files), err)
	}
	sent := map[string]string{} // receipt to data
	for _, file := range files {
		body := corpus(t, filepath.Base(file))
		media := "application/json"
		var datas []string
		if filepath.Ext(file) == ".ndjson" {
			media = "application/x-ndjson"
			for line := range bytes.Lines(body) {
				if len(bytes.TrimSpace(line)) > 0 {
					datas = append(datas, dataOf(t, line))
				}
			}
		} else if bytes.HasPrefix(body, []byte("[")) {
			var events []json.RawMessage
			if err := json.Unmarshal(body, &events); err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				datas = append(datas, dataOf(t, e))
			}
		} else {
			datas = []string{dataOf(t, body)}
		}
		var a eyetest.Accepted
		s.Do(t, "POST", "/v1/events", key, body, "Content-Type", media, "Prefer", "return=representation").Want(t, 202).JSON(t, &a)
		if a.Results == nil {
			a.Results = []eyetest.Result{{Receipt: a.Receipt}}
		}
		if len(a.Results) != len(datas) || a.Rejected != 0 {
			t.Fatalf("%s: %d results, %d rejected; want %d and none", file, len(a.Results), a.Rejected, len(datas))
		}
		for i, r := range a.Results {
			sent[r.Receipt] = datas[i]
		}
	}
	check := func(s *eyetest.Service) {
		for receipt, data := range sent {
			r := s.Await(t, key, receipt)
			if r.Disposition == "duplicate" { // the corpus has sessions in more than one file
				continue
			}
			if r.Event == nil || string(r.Event.Data) != data {
				t.Errorf("receipt %s gives %+v; want data\n%s", receipt, r, data)
				continue
			}
			var one eyetest.Event
			s.Get(t, key, "/v1/events/web-shop/"+escape(r.Event.ID)).Want(t, 200).JSON(t, &one)
			if string(one.Data) != data {
				t.Errorf("event %s has data\n%s\nwant\n%s", one.ID, one.Data, data)
			}
		}
		for _, e := range s.List(t, key, "/v1/events") {
			if data := sent[e.Receipt]; string(e.Data) != data {
				t.Errorf("listed event %s has data\n%s\nwant\n%s", e.ID, e.Data, data)
			}
		}
	}
	check(s)
	check(s.Restart(t))
}

// dataOf is the data of an event as it stands there.
func dataOf(t *testing.T, event []byte) string {
	t.Helper()
	var e struct{ Data json.RawMessage }
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatalf("%v in %s", err, event)
	}
	return string(e.Data)
}

// escape is text as one segment of a path, every byte of it.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02X", text[i])
	}
	return b.String()
}

func TestEveryHostileFileIsRefused(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	files, err := filepath.Glob("../../testdata/corpus/hostile/*json")
	if err != nil || len(files) < 20 {
		t.Fatalf("there are %d hostile files, %v; want 20 or more", len(files), err)
	}
	refused := 0
	for _, file := range files {
		body := corpus(t, "hostile/"+filepath.Base(file))
		if filepath.Ext(file) == ".ndjson" {
			var a eyetest.Accepted
			w := s.Do(t, "POST", "/v1/events", key, body, "Content-Type", "application/x-ndjson")
			if w.JSON(t, &a); a.Rejected == 0 || len(a.Errors) != a.Rejected {
				t.Errorf("%s: answer %d with %d rejected; want some", file, w.Status, a.Rejected)
			}
			refused += a.Rejected
			continue
		}
		w := s.Do(t, "POST", "/v1/events", key, body)
		if p := anyProblem(t, w); w.Status != 400 && w.Status != 422 {
			t.Errorf("%s: answer %d %+v; want 400 or 422", file, w.Status, p)
		}
		var a eyetest.Accepted
		if w.JSON(t, &a); a.Rejected == 0 {
			a.Rejected = 1
		}
		refused += a.Rejected
	}
	// All of it lies in quarantine, byte for byte.
	var page struct {
		Items []struct {
			Receipt        string
			Original       *string
			OriginalBase64 []byte `json:"original_base64"`
			Violations     []eyetest.Violation
		}
	}
	eyetest.Eventually(t, "everything refused is in quarantine", func() bool {
		page.Items = nil
		s.Get(t, s.Key, "/v1/quarantine?limit=1000").Want(t, 200).JSON(t, &page)
		return len(page.Items) >= refused
	})
	if len(page.Items) != refused {
		t.Errorf("quarantine has %d items; want %d", len(page.Items), refused)
	}
	originals := map[string]bool{}
	for _, q := range page.Items {
		if len(q.Violations) == 0 {
			t.Errorf("refusal %s has no violation", q.Receipt)
		}
		if q.Original != nil {
			q.OriginalBase64 = []byte(*q.Original)
		}
		originals[string(q.OriginalBase64)] = true
	}
	for _, name := range []string{"truncated.json", "invalid-utf8.json", "depth-open.json", "not-json.json", "empty.json", "utf16.json", "nul.json"} {
		if !originals[string(corpus(t, "hostile/"+name))] {
			t.Errorf("quarantine lacks the bytes of %s", name)
		}
	}
}

func TestReceiptsOfEveryDisposition(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	bad := `{"id":"bad","session_id":"s","category":"c","name":"n","timestamp":"2021-01-01T00:00:00Z"}`
	receipt := func(body string, status int) string {
		var a eyetest.Accepted
		s.Post(t, key, body).Want(t, status).JSON(t, &a)
		if a.Receipt == "" {
			t.Fatalf("no receipt for %s", body)
		}
		return a.Receipt
	}
	first := receipt(pageView("a", "s", 1), 202)
	again := receipt(pageView("a", "s", 1), 202)
	moved := receipt(pageView("a", "s", 999), 202) // the same id for something else
	refused := receipt(bad, 422)
	check := func(s *eyetest.Service) {
		if r := s.Await(t, key, first); r.Disposition != "stored" || r.Event.ID != "a" || r.Event.Position != 1 || len(r.Violations) != 0 {
			t.Errorf("the first is %+v; want stored", r)
		}
		if r := s.Await(t, key, again); r.Disposition != "duplicate" || r.Event == nil || r.Event.Receipt != first || len(r.Violations) != 0 {
			t.Errorf("the retry is %+v; want duplicate of %s", r, first)
		}
		if r := s.Await(t, key, moved); r.Disposition != "duplicate" || r.Event == nil || r.Event.Receipt != first ||
			len(r.Violations) != 1 || r.Violations[0].Code != "id_conflict" {
			t.Errorf("the other event with the same id is %+v; want duplicate with id_conflict", r)
		}
		if r := s.Await(t, key, refused); r.Disposition != "quarantined" || r.Event != nil || len(r.Violations) != 1 ||
			r.Violations[0].Code != "required" || r.Violations[0].Pointer != "/data" {
			t.Errorf("the refused is %+v; want quarantined", r)
		}
		if got := ids(s.List(t, key, "/v1/events")); got != "a" {
			t.Errorf("stored are %s; want a", got)
		}
	}
	check(s)
	s = s.Restart(t)
	check(s)
	for _, wrong := range []string{"x", first[:len(first)-1], first + "a", strings.ToUpper(first), strings.Repeat("a", 9000)} {
		if wrong != first {
			problemOf(t, s.Get(t, key, "/v1/receipts/"+wrong), 404)
		}
	}
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	bad := `{"id":"bad","session_id":"s"}`

	var one eyetest.Accepted
	w := s.PostWait(t, key, pageView("a", "s", 1)).Want(t, 200)
	if w.JSON(t, &one); one.Status != "stored" || one.ID != "a" || w.Header.Get("Preference-Applied") != "wait=30" {
		t.Errorf("the answer is %s with Preference-Applied %q; want stored, wait=30", w.Body, w.Header.Get("Preference-Applied"))
	}
	if got := ids(s.List(t, key, "/v1/events")); got != "a" {
		t.Errorf("after the answer stored are %q; want a", got)
	}
	s.PostWait(t, key, pageView("a", "s", 1)).Want(t, 200).JSON(t, &one)
	if one.Status != "duplicate" {
		t.Errorf("the retry is %v; want duplicate", one.Status)
	}
	problemOf(t, s.PostWait(t, key, bad), 422)

	var many eyetest.Accepted
	s.PostWait(t, key, batch(pageView("b", "s", 2), bad, pageView("a", "s", 1), pageView("c", "s", 3), pageView("c", "s", 3))).Want(t, 200).JSON(t, &many)
	var got []string
	for i, r := range many.Results {
		got = append(got, r.ID+" "+r.Status)
		if r.Index != i || s.Receipt(t, key, r.Receipt).Disposition != r.Status {
			t.Errorf("result %d is %+v; its receipt says %+v", i, r, s.Receipt(t, key, r.Receipt))
		}
	}
	want := []string{"b stored", "bad quarantined", "a duplicate", "c stored", "c duplicate"}
	if diff := cmp.Diff(want, got); diff != "" || many.Accepted != 4 || many.Rejected != 1 {
		t.Errorf("accepted %d, rejected %d; want 4, 1; results (-want +got):\n%s", many.Accepted, many.Rejected, diff)
	}

	var later eyetest.Accepted
	s.Post(t, key, pageView("d", "s", 4), "Prefer", "wait=0").Want(t, 202).JSON(t, &later)
	if later.Status != "accepted" {
		t.Errorf("with wait=0 the status is %v; want accepted", later.Status)
	}
	for _, wrong := range []string{"wait=31", "wait=-1", "wait=x", "wait"} {
		problemOf(t, s.Post(t, key, pageView("e", "s", 5), "Prefer", wrong), 400)
	}
}

func TestCodings(t *testing.T) {
	t.Parallel()
	s := eyetest.Start(t)
	key := s.NewApplication(t, "web-shop", all...)
	for _, coding := range []string{"", "identity", "gzip", "x-gzip", "GZIP", "zstd"} {
		body := compress(t, coding, []byte(pageView("e-"+coding, "s", 1)))
		s.Do(t, "POST", "/v1/events", key, body, "Content-Encoding", coding, "Prefer", "wait=30").Want(t, 200)
	}
	if got := len(s.List(t, key, "/v1/events")); got != 6 {
		t.Errorf("stored are %d events; want 6", got)
	}
	for _, coding := range []string{"br", "deflate", "gzip, gzip", "zstd, gzip", "nonsense"} {
		problemOf(t, s.Do(t, "POST", "/v1/events", key, []byte(pageView("x", "s", 1)), "Content-Encoding", coding), 415)
	}
	for _, coding := range []string{"gzip", "zstd"} {
		problemOf(t, s.Do(t, "POST", "/v1/events", key, []byte(pageView("x", "s", 1)), "Content-Encoding", coding), 400)
		whole := compress(t, coding, []byte(pageView("x", "s", 1)))
		problemOf(t, s.Do(t, "POST", "/v1/events", key, whole[:len(whole)-6], "Content-Encoding", coding), 400)
	}
}

// compress codes body as the content coding says.
func compress(t testing.TB, coding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch strings.ToLower(coding) {
	case "gzip", "x-gzip":
		z := gzip.NewWriter(&b)
		z.Write(body)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	case "zstd":
		z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		z.Write(body)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		return body
	}
	return b.Bytes()
}
