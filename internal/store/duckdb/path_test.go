package duckdb

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestPathEquals(t *testing.T) {
	t.Parallel()
	f := func(data, path, value string, want bool) {
		t.Helper()
		if got := pathEquals(data, jsontext.Pointer(path), value); got != want {
			t.Errorf("pathEquals(%s, %q, %q) = %t; want %t", data, path, value, got, want)
		}
	}
	f(`{"a":"b"}`, "/a", "b", true)
	f(`{"a":"b"}`, "/a", `"b"`, false)
	f(`{"x":{"a":1},"a":"b"}`, "/a", "b", true)
	f(`{"x":{"a":"b"}}`, "/a", "b", false)
	f(`{"a/b":{"~":"c"}}`, "/a~1b/~0", "c", true)
	f(`{"a":[0,{"b":-1.50e+3}]}`, "/a/1/b", "-1.50e+3", true)
	f(`{"a":[0,{"b":-1.50e+3}]}`, "/a/1/b", "-1500", false)
	f(`{"a":[]}`, "/a/0", "", false)
	f(`{"a":{}}`, "/a/0", "", false)
	f(`{"a":{}}`, "/a", "", false)
	f(`{"a":{}}`, "", "", false)
	f(`{}`, "/a", "", false)
	f(`{"a":`, "/a", "", false)
	f(``, "/a", "", false)
	f(`{"a":1}`, "/a/b/c", "1", false)
}

func TestPointer(t *testing.T) {
	t.Parallel()
	for _, path := range [][]string{{"a"}, {""}, {"a/b", "~1", "ü"}, {"a", "", "0"}} {
		var got []string
		for token := range jsontext.Pointer(pointer(path)).Tokens() {
			got = append(got, token)
		}
		if strings.Join(got, "|") != strings.Join(path, "|") || len(got) != len(path) {
			t.Errorf("tokens of pointer(%q) = %q", path, got)
		}
	}
}

// FuzzPathEquals: whatever the payload, the answer comes, and a yes is one that
// the cheap condition before it in SQL lets through.
func FuzzPathEquals(f *testing.F) {
	f.Add(`{"a":[1,"x\u0041",{"b":null}]}`, "/a/1", "xA")
	f.Add(`{"a":1.0}`, "/a", "1.0")
	f.Add("{\"\xff\":\"\xfe\"}", "/\ufffd", "\ufffd")
	f.Add(`{"a":`, "/a", "")
	f.Fuzz(func(t *testing.T, data, path, value string) {
		held := pathEquals(data, jsontext.Pointer(path), value)
		// Payloads are valid when they come here: text that is not has no meaning.
		if held && jsontext.Value(data).IsValid() && !strings.Contains(data, value) && !strings.Contains(data, `\`) {
			t.Errorf("pathEquals(%q, %q, %q) holds, but neither the value nor a backslash is in the payload", data, path, value)
		}
	})
}
