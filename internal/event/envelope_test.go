package event_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/the-eye/eye/internal/event"
)

var rules = event.Rules{Now: mustTime("2021-01-01T10:00:00Z"), Tolerance: 60e6, MaxBytes: 1 << 20}

func mustTime(text string) event.Micros {
	m, ok := event.ParseTimestamp(text)
	if !ok {
		panic("no timestamp: " + text)
	}
	return m
}

// outcome is what a test compares of one decoded event.
type outcome struct {
	Raw        string
	Violations []string // pointer + " " + code
}

func decode(body string, framing event.Framing) (out []outcome, batch bool, err error) {
	var d event.Decoder
	d.Reset([]byte(body), framing, rules)
	for {
		more, err := d.Next()
		if err != nil || !more {
			return out, d.Batch(), err
		}
		o := outcome{Raw: string(d.Raw())}
		for _, v := range d.Violations() {
			o.Violations = append(o.Violations, v.Pointer+" "+string(v.Code))
		}
		out = append(out, o)
	}
}

const good = `{"session_id":"s","category":"c","name":"n","data":{"a":1},"timestamp":"2021-01-01 09:15:27.243860"}`

// with is the good event with one member put in or replaced (text "" removes it).
func with(name, text string) string {
	var members []string
	for _, m := range []struct{ name, text string }{
		{"session_id", `"s"`}, {"category", `"c"`}, {"name", `"n"`}, {"data", `{"a":1}`},
		{"timestamp", `"2021-01-01 09:15:27.243860"`},
	} {
		if m.name == name {
			m.text, name = text, ""
		}
		if m.text != "" {
			members = append(members, fmt.Sprintf("%q:%s", m.name, m.text))
		}
	}
	if name != "" {
		members = append(members, fmt.Sprintf("%q:%s", name, text))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestEnvelopeRules(t *testing.T) {
	long := strings.Repeat("é", 128)
	deep := func(n int) string { return strings.Repeat(`{"k":`, n) + "1" + strings.Repeat("}", n) }
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"a good event", good, nil},
		{"an id and a sequence are optional", with("id", `"x"`), nil},
		{"sequence zero", with("sequence", "0"), nil},
		{"the largest sequence", with("sequence", "9223372036854775807"), nil},
		{"a sequence beyond 64 bits", with("sequence", "9223372036854775808"), []string{"/sequence type"}},
		{"a negative sequence", with("sequence", "-1"), []string{"/sequence type"}},
		{"a broken sequence", with("sequence", "1.5"), []string{"/sequence type"}},
		{"a sequence in quotes", with("sequence", `"1"`), []string{"/sequence type"}},
		{"an empty object", "{}", []string{"/session_id required", "/category required", "/name required", "/data required", "/timestamp required"}},
		{"no data", with("data", ""), []string{"/data required"}},
		{"data is an array", with("data", "[]"), []string{"/data type"}},
		{"data is null", with("data", "null"), []string{"/data type"}},
		{"an empty name", with("name", `""`), []string{"/name required"}},
		{"a null name", with("name", "null"), []string{"/name type"}},
		{"128 characters of two bytes", with("name", `"`+long+`"`), nil},
		{"129 characters", with("name", `"`+long+`x"`), []string{"/name too_long"}},
		{"128 escaped characters", with("name", `"`+strings.Repeat(`\u00e9`, 128)+`"`), nil},
		{"an empty id", with("id", `""`), []string{"/id required"}},
		{"a field that is the server's", with("received_at", `"x"`), []string{"/received_at unknown_field"}},
		{"a field with a slash and a tilde", with("a/b~c", `1`), []string{"/a~1b~0c unknown_field"}},
		{"an escaped field name", `{"sess\u0069on_id"` + strings.TrimPrefix(good, `{"session_id"`), nil},
		{"two broken rules", `{"session_id":1,` + strings.TrimPrefix(with("name", `""`), `{"session_id":"s",`), []string{"/session_id type", "/name required"}},
		{"timestamp is a number", with("timestamp", "1609492527"), []string{"/timestamp type"}},
		{"timestamp without offset in T form", with("timestamp", `"2021-01-01T09:15:27"`), []string{"/timestamp invalid_timestamp"}},
		{"timestamp a minute ahead", with("timestamp", `"2021-01-01T10:01:00Z"`), nil},
		{"timestamp more than a minute ahead", with("timestamp", `"2021-01-01T10:01:00.000001Z"`), []string{"/timestamp timestamp_in_future"}},
		{"a duplicate key", `{"session_id":"s",` + good[1:], []string{"/session_id invalid_json"}},
		{"a duplicate key in disguise", with("data", `{"a":1,"\u0061":2}`), []string{"/data/a invalid_json"}},
		{"a duplicate key deep down", with("data", `{"x":[{},{"a":{"b":1,"c":2,"b":3}}]}`), []string{"/data/x/1/a/b invalid_json"}},
		{"invalid UTF-8 in data", with("data", "{\"x\":\"\xff\"}"), []string{"/data/x invalid_json"}},
		{"invalid UTF-8 in a key", with("data", "{\"\xff\":1}"), []string{"/data invalid_json"}},
		{"half a surrogate pair", with("data", `{"x":"\ud800"}`), []string{"/data/x invalid_json"}},
		{"the halves in the wrong order", with("data", `{"x":"\udc00\ud800"}`), []string{"/data/x invalid_json", "/data/x invalid_json"}},
		{"a whole surrogate pair", with("data", `{"x":"\ud83d\ude00"}`), nil},
		{"a number of 64 characters", with("data", `{"x":`+strings.Repeat("9", 64)+`}`), nil},
		{"a number of 65 characters", with("data", `{"x":[0,`+strings.Repeat("9", 65)+`]}`), []string{"/data/x/1 invalid_json"}},
		{"64 levels", with("data", deep(63)), nil},
		{"65 levels", with("data", deep(64)), []string{"/data" + strings.Repeat("/k", 63) + " invalid_json"}},
		{"a hundred thousand levels", with("data", deep(100_000)), []string{"/data" + strings.Repeat("/k", 63) + " invalid_json"}},
		{"deep arrays and objects mixed", with("data", `{"a":`+strings.Repeat(`[{"k":`, 500)+`[]`+strings.Repeat(`},1]`, 500)+`}`), []string{"/data/a" + strings.Repeat("/0/k", 31) + " invalid_json"}},
		{"no object", `"hello"`, []string{" type"}},
		{"over a megabyte", with("data", `{"x":"`+strings.Repeat("y", 1<<20)+`"}`), []string{" too_large"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, batch, err := decode(c.body, event.JSON)
			if err != nil || batch || len(got) != 1 {
				t.Fatalf("decode = %d events, batch %v, error %v; want one event alone", len(got), batch, err)
			}
			if diff := cmp.Diff(c.want, got[0].Violations); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
			if got[0].Raw != c.body {
				t.Errorf("Raw = %.100q; want the event as sent", got[0].Raw)
			}
		})
	}
}

func TestManyViolationsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 1000 {
		fmt.Fprintf(&b, `"f%d":1,`, i)
	}
	got, _, err := decode(b.String()+good[1:], event.JSON)
	if err != nil || len(got[0].Violations) != event.MaxViolations {
		t.Errorf("got %d violations, error %v; want %d", len(got[0].Violations), err, event.MaxViolations)
	}
}

func TestPointersAreBounded(t *testing.T) {
	long := strings.Repeat("k", 1100)
	got, _, _ := decode(with("data", `{"a":{"`+long+`":{"x":1,"x":2}},"b":1,"b":2}`), event.JSON)
	want := []string{"/data/a invalid_json", "/data/b invalid_json"}
	if diff := cmp.Diff(want, got[0].Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func TestManyKeysAreComparedByMap(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `"k%d":1,`, i)
	}
	got, _, _ := decode(with("data", "{"+b.String()+`"k999":2,"k3":2,"new":1}`), event.JSON)
	want := []string{"/data/k999 invalid_json", "/data/k3 invalid_json"}
	if diff := cmp.Diff(want, got[0].Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func TestBodies(t *testing.T) {
	for _, c := range []struct {
		name, body string
		framing    event.Framing
		events     int
		batch      bool
		syntaxAt   int // -1: none
	}{
		{"one object", " " + good + "\n", event.JSON, 1, false, -1},
		{"an array", "[" + good + " , " + good + "]", event.JSON, 2, true, -1},
		{"an empty array", " [ ] ", event.JSON, 0, true, -1},
		{"an array with a stranger", "[" + good + ",42]", event.JSON, 2, true, -1},
		{"nothing", "", event.JSON, 0, false, 0},
		{"trailing bytes", "{} x", event.JSON, 0, false, 3},
		{"trailing bytes behind an array", "[{}]]", event.JSON, 1, true, 4},
		{"a trailing comma", "[{},]", event.JSON, 1, true, 4},
		{"a cut array", "[" + good, event.JSON, 1, true, len(good) + 1},
		{"an unterminated string", `{"a":"`, event.JSON, 0, false, 6},
		{"a raw newline in a string", "{\"a\":\"\n\"}", event.JSON, 0, false, 6},
		{"NaN", `{"a":NaN}`, event.JSON, 0, false, 5},
		{"a leading zero", `{"a":01}`, event.JSON, 0, false, 6},
		{"a plus", `{"a":+1}`, event.JSON, 0, false, 5},
		{"an open exponent", `{"a":1e}`, event.JSON, 0, false, 7},
		{"a byte order mark", "\uFEFF{}", event.JSON, 0, false, 0},
		{"lines", good + "\n\r\n" + good + "\r\n", event.Lines, 2, true, -1},
		{"one line without its end", good, event.Lines, 1, true, -1},
		{"a broken line between good ones", good + "\n{\"a\":\n" + good, event.Lines, 3, true, -1},
		{"no lines", "\n\n", event.Lines, 0, true, -1},
		{"a line with a zero byte", good + "\n\x00\n" + good, event.Lines, 3, true, -1},
		{"a zero byte behind an object", good + "\x00", event.JSON, 0, false, len(good)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, batch, err := decode(c.body, c.framing)
			var syntax *event.SyntaxError
			at := -1
			if errors.As(err, &syntax) {
				at = syntax.Offset
			}
			if len(got) != c.events || batch != c.batch || at != c.syntaxAt {
				t.Errorf("decode = %d events, batch %v, error %v; want %d, %v, syntax error at %d",
					len(got), batch, err, c.events, c.batch, c.syntaxAt)
			}
		})
	}
}

func TestALineCannotReachIntoTheNext(t *testing.T) {
	got, _, err := decode(good+"\n[\"\n"+good+" x\n"+good, event.Lines)
	want := []outcome{{Raw: good}, {`["`, []string{" invalid_json"}}, {good + " x", []string{" invalid_json"}}, {Raw: good}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("decode: error %v (-want +got):\n%s", err, diff)
	}
}

func TestDecodedEvent(t *testing.T) {
	body := `{"id":"i\u0064","session_id":"s","category":"page \"x\"","name":"n","sequence":7,` +
		`"data": {"b":1e400, "a":12345678901234567890.10} ,"timestamp":"2021-01-01T10:15:27.2438609+01:00"}`
	var d event.Decoder
	d.Reset([]byte(body), event.JSON, rules)
	if more, err := d.Next(); !more || err != nil || len(d.Violations()) > 0 {
		t.Fatalf("Next = %v, %v, %v; want a good event", more, err, d.Violations())
	}
	want := event.Event{
		ID: "id", SessionID: "s", Category: `page "x"`, Name: "n", Sequence: 7,
		Data:      []byte(`{"b":1e400, "a":12345678901234567890.10}`),
		Timestamp: mustTime("2021-01-01T09:15:27.243860Z"),
	}
	if diff := cmp.Diff(want, *d.Event()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func corpus(f *testing.F) [][]byte {
	files, _ := filepath.Glob("../../testdata/corpus/*.json")
	lines, _ := filepath.Glob("../../testdata/corpus/*.ndjson")
	var out [][]byte
	for _, name := range append(files, lines...) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// FuzzDecoder holds the decoder against an independent strict reader: what it
// takes as good is JSON without duplicate keys in valid UTF-8, and what that
// reader takes is not called bad JSON unless it is beyond our own limits.
func FuzzDecoder(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b, false)
		f.Add(b, true)
	}
	for _, s := range []string{good, "[" + good + "]", `{"a":[1,{"b":"\ud83d\ude00"}]}`, "{}\n{}", `[[[[`, "\"\\u12"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		framing := event.JSON
		if lines {
			framing = event.Lines
		}
		var d event.Decoder
		d.Reset(body, framing, rules)
		bad := false // something was called no JSON
		for {
			more, err := d.Next()
			if err != nil {
				bad = true
				break
			}
			if !more {
				break
			}
			isBad := false
			for _, v := range d.Violations() {
				if v.Code == "" || v.Message == "" {
					t.Fatalf("violation without code or message: %+v", v)
				}
				isBad = isBad || v.Code == event.InvalidJSON || v.Code == event.TooLarge
			}
			if !isBad && !strictJSON(d.Raw()) {
				t.Fatalf("%q was taken as JSON", d.Raw())
			}
			bad = bad || isBad
		}
		if !bad || lines {
			return
		}
		if strictJSON(body) && !beyondLimits(body) {
			t.Fatalf("%q was called no JSON", body)
		}
	})
}

func strictJSON(b []byte) bool { return jsontext.Value(b).IsValid() }

// beyondLimits tells whether valid JSON breaks one of the envelope's own bounds.
func beyondLimits(b []byte) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(b))
	for {
		v, err := dec.ReadToken()
		if err != nil {
			return len(b) > rules.MaxBytes
		}
		if dec.StackDepth() > event.MaxDepth || v.Kind() == '0' && len(v.String()) > event.MaxNumberDigits {
			return true
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	one := `{"id":"0191f2a4-7c1e-7d3a-9c55-0123456789ab","session_id":"e2085be5-9137-4e4e-80b5-f1ffddc25423","category":"page interaction","name":"cta click",` +
		`"data":{"host":"www.example.com","path":"/products/42","element":"chat bubble","position":{"x":120,"y":532.5},"referrer":"https://www.example.com/","tags":["spring","sale"],"visitor":"v-812736","viewport":{"width":1440,"height":900},"language":"en-GB"},"timestamp":"2021-01-01 09:15:27.243860"}`
	for _, n := range []int{1, 100} {
		body := []byte("[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]")
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var d event.Decoder
			for b.Loop() {
				d.Reset(body, event.JSON, rules)
				for {
					more, err := d.Next()
					if err != nil || len(d.Violations()) > 0 {
						b.Fatal(err, d.Violations())
					}
					if !more {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
