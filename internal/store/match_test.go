package store_test

import (
	"strings"
	"testing"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

func TestFilterMatchesPayloadPaths(t *testing.T) {
	data := `{"a":"x","n":1.50,"t":true,"z":null,"o":{"in":"y","a.b":"dot"},"l":["p",{"q":"r"}],"e":"\u0041","":"empty"}`
	for _, c := range []struct {
		path, value string
		want        bool
	}{
		{"a", "x", true}, {"a", "X", false}, {"missing", "x", false},
		{"n", "1.50", true}, {"n", "1.5", false},
		{"t", "true", true}, {"z", "null", true},
		{"o", "{}", false}, {"o.in", "y", true}, {"a.in", "y", false},
		{"l.0", "p", true}, {"l.1.q", "r", true}, {"l.2", "p", false}, {"l.00", "p", false}, {"l.x", "p", false}, {"l.-1", "p", false},
		{"e", "A", true}, {"", "empty", true},
	} {
		f := store.Filter{Data: []store.PathEquals{{Path: strings.Split(c.path, "."), Value: c.value}}}
		if got := f.Matches(&event.Event{Data: []byte(data)}); got != c.want {
			t.Errorf("data.%s = %q matches: %v; want %v", c.path, c.value, got, c.want)
		}
	}
}

func TestFilterMatchesFields(t *testing.T) {
	e := event.Event{Application: "a", SessionID: "s", Category: "c", Name: "n", Timestamp: 100, Data: []byte("{}")}
	for _, c := range []struct {
		f    store.Filter
		want bool
	}{
		{store.Filter{}, true},
		{store.Filter{Application: "a", SessionID: "s", Category: "c", Name: "n", From: 100, To: 101}, true},
		{store.Filter{Application: "b"}, false},
		{store.Filter{SessionID: "b"}, false},
		{store.Filter{Category: "b"}, false},
		{store.Filter{Name: "b"}, false},
		{store.Filter{From: 101}, false},
		{store.Filter{To: 100}, false},
	} {
		if got := c.f.Matches(&e); got != c.want {
			t.Errorf("%+v matches: %v; want %v", c.f, got, c.want)
		}
	}
}
