package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// told reads a file and shows what it told: place and text of every event, and
// the error at the end.
func told(in io.Reader) []string {
	var got []string
	err := readFile("-", in, func(int) {}, func(r record) bool {
		got = append(got, strings.TrimPrefix(r.at.String(), "standard input")+" "+string(r.json))
		return true
	})
	if err != nil {
		got = append(got, "error: "+err.Error())
	}
	return got
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"only space", " \n\t\r\n", nil},
		{"one a line", "{}\n\n {\"a\":1} \r\n{}", []string{":1 {}", `:3 {"a":1}`, ":4 {}"}},
		{"space before", "\n\n{}\n{}\n", []string{":3 {}", ":4 {}"}},
		{"byte order mark", "\ufeff{}\n", []string{":1 {}"}},
		{"broken lines are lines", "{}\n{\"a\n[]\nhello", []string{":1 {}", `:2 {"a`, ":3 []", ":4 hello"}},
		{"a broken first line too", "{]\n{}", []string{":1 {]", ":2 {}"}},
		{"one line that is cut off", `{"a":`, []string{`:1 {"a":`}},
		{"two objects on the first line", "{}{}\n{}", []string{":1 {}{}", ":2 {}"}},
		{"text", "a,b\n1,2", []string{":1 a,b", ":2 1,2"}},
		{"an array", "[{},\n {\"a\":[1]} , 7]\n", []string{"[0] {}", `[1] {"a":[1]}`, "[2] 7"}},
		{"an empty array", " []", nil},
		{"an object over several lines", "{\n\"a\": 1\n}\n", []string{"[0] {\n\"a\": 1\n}"}},
		{"several of them", "{\n}\n{\"a\":\n1} {}", []string{"[0] {\n}", "[1] {\"a\":\n1}", "[2] {}"}},
		{"an array cut off", "[{},{", []string{"[0] {}", "error: - is no JSON behind 1 event (byte 4): unexpected EOF: the rest of the file cannot be read"}},
		{"an array without end", "[{}", []string{"[0] {}", "error: - is no JSON behind 1 event (byte 3): unexpected EOF: the rest of the file cannot be read"}},
		{"more behind an array", "[{}] [{}]", []string{"[0] {}", "error: - is no JSON behind 1 event (byte 6): there is more behind the end: the rest of the file cannot be read"}},
		{"rubbish in an array", "[{}, x]", []string{"[0] {}", "error: - is no JSON behind 1 event (byte 4): invalid character 'x' looking for beginning of value: the rest of the file cannot be read"}},
		{"rubbish behind objects", "{\n}\nx", []string{"[0] {\n}", "error: - is no JSON behind 1 event (byte 4): invalid character 'x' looking for beginning of value: the rest of the file cannot be read"}},
	} {
		for how, in := range map[string]io.Reader{
			"whole": strings.NewReader(test.text), "byte by byte": iotest.OneByteReader(strings.NewReader(test.text)),
		} {
			if d := cmp.Diff(test.want, told(in)); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", test.name, how, d)
			}
		}
	}
}

// endless repeats its text for ever.
type endless string

func (e endless) Read(b []byte) (n int, err error) {
	for n < len(b) {
		n += copy(b[n:], e)
	}
	return n, nil
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]io.Reader{
		"a line without end":               io.MultiReader(strings.NewReader("{}\nx"), endless("x")),
		"an element without end":           io.MultiReader(strings.NewReader(`[{}, "`), endless("x")),
		"an object without end":            io.MultiReader(strings.NewReader("{\n\"a\":\""), endless("x")),
		"an array of arrays of arrays ...": endless("["),
	} {
		r := &recordReader{name: "f", in: bufio.NewReader(in), max: 100_000, tell: func(record) bool { return true }}
		if err := r.read(); !errors.Is(err, errPlaced) || len(err.Error()) > 200 {
			t.Errorf("%s ended with %v; want a short error", name, err)
		}
	}
	broken := errors.New("broken")
	if got := told(io.MultiReader(strings.NewReader("{}\n"), iotest.ErrReader(broken))); len(got) != 2 || got[1] != "error: read -: broken" {
		t.Errorf("told %q; want one event and the error", got)
	}
}

func FuzzReadFile(f *testing.F) {
	for _, seed := range []string{"{}\n{}", "[{},\n{}]", "{\n}", "\ufeff{\"a\":[1]}\n\nx", "[", "{\"a\n}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, pieces := told(bytes.NewReader(text)), told(iotest.OneByteReader(bytes.NewReader(text)))
		if d := cmp.Diff(whole, pieces); d != "" {
			t.Errorf("in small pieces (-whole +pieces):\n%s", d)
		}
		err := readFile("-", bytes.NewReader(text), func(int) {}, func(r record) bool {
			if len(bytes.TrimSpace(r.json)) == 0 {
				t.Error("an event is empty")
			}
			if !json.Valid(r.json) && r.at.line == 0 {
				t.Errorf("%q is no JSON", r.json)
			}
			with := withID(bytes.Clone(r.json))
			if json.Valid(with) != json.Valid(r.json) {
				t.Errorf("withID(%q) = %q", r.json, with)
			}
			if again := withID(bytes.Clone(with)); !bytes.Equal(again, with) {
				t.Errorf("withID(%q) = %q; want it as it is", with, again)
			}
			return true
		})
		if err != nil && !errors.Is(err, errPlaced) {
			t.Errorf("readFile = %v", err)
		}
	})
}

func TestWithID(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]string{
		`{}`:                    `{"id":"ID"}`,
		`{ "a": {"id":1} }`:     `{"id":"ID","a": {"id":1} }`,
		`{"id":"x"}`:            `{"id":"x"}`,
		`{"a":1,"id":null}`:     `{"a":1,"id":null}`,
		`{"i\u0064":7}`:         `{"i\u0064":7}`,
		`[]`:                    `[]`,
		`{"a":`:                 `{"a":`,
		`"{}"`:                  `"{}"`,
		"{\n\t\"a\" : 1.50 \n}": "{\"id\":\"ID\",\"a\" : 1.50 \n}",
	} {
		got := string(withID(json.RawMessage(event)))
		var v struct{ ID string }
		if json.Unmarshal([]byte(got), &v) == nil && len(v.ID) == 36 {
			got = strings.Replace(got, v.ID, "ID", 1)
		}
		if got != want {
			t.Errorf("withID(%s) = %s; want %s", event, got, want)
		}
	}
}

func BenchmarkReadFile(b *testing.B) {
	var text bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&text, `{"session_id":"e2085be5-9137-4e4e-80b5-f1ffddc25423","category":"page interaction","name":"cta click","data":{"host":"www.example.com","path":"/","n":%d},"timestamp":"2021-01-01 09:15:27.243860"}`+"\n", i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		err := readFile("-", bytes.NewReader(text.Bytes()), func(int) {}, func(r record) bool {
			withID(r.json)
			return true
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}
