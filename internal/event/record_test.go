package event_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/the-eye/eye/internal/event"
)

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		application := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,10}`).Draw(t, "application")
		at := event.Micros(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "received"))
		first := event.At(rapid.Uint64Range(1, 1<<40).Draw(t, "block"), rapid.IntRange(0, 1000).Draw(t, "index"))
		b := event.AppendHeader(nil, application, at)
		var want []event.Record
		for i := range rapid.IntRange(0, 5).Draw(t, "records") {
			p := first + event.Position(i)
			if rapid.Bool().Draw(t, "refused") {
				r := &event.Refusal{
					Application: application, ReceivedAt: at, Position: p,
					ID: rapid.String().Draw(t, "id"), Category: rapid.String().Draw(t, "category"),
					Violations: []event.Violation{{Pointer: rapid.String().Draw(t, "pointer"), Code: event.WrongType, Message: "m"}},
					Original:   rapid.SliceOf(rapid.Byte()).Draw(t, "original"),
				}
				b = event.AppendRefusal(b, r)
				want = append(want, event.Record{Refusal: r})
				continue
			}
			e := &event.Event{
				Application: application, ReceivedAt: at, Position: p,
				ID: rapid.String().Draw(t, "id"), SessionID: rapid.String().Draw(t, "session"),
				Category: "c", Name: "n", Data: []byte(`{"a":1}`),
				Timestamp: event.Micros(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "timestamp")),
				Sequence:  rapid.Int64Min(-1).Draw(t, "sequence"),
			}
			if rapid.Bool().Draw(t, "checked") {
				e.SchemaVersion, e.Violations = rapid.Int32Min(0).Draw(t, "version"), []byte(`[{}]`)
			}
			b = event.AppendEvent(b, e, at)
			want = append(want, event.Record{Event: e})
		}
		var got []event.Record
		if err := event.DecodeRecords(b, first, func(r event.Record) error { got = append(got, r); return nil }); err != nil {
			t.Fatalf("DecodeRecords: %v", err)
		}
		if diff := cmp.Diff(want, got, cmp.Transformer("text", func(b []byte) string { return string(b) })); diff != "" {
			t.Fatalf("records (-want +got):\n%s", diff)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	b := event.AppendHeader(nil, "web", 1)
	b = event.AppendEvent(b, &event.Event{ID: "i", SessionID: "s", Category: "c", Name: "n", Data: []byte("{}"), Sequence: 3, SchemaVersion: 1}, 1)
	f.Add(event.AppendRefusal(b, &event.Refusal{Violations: []event.Violation{{Code: event.Required}}, Original: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever comes, it is refused or gives records whose bytes lie in b.
		size := 0
		err := event.DecodeRecords(b, event.At(1, 0), func(r event.Record) error {
			if (r.Event == nil) == (r.Refusal == nil) {
				t.Fatal("a record is one of an event and a refusal")
			}
			if r.Event != nil {
				size += len(r.Event.Data)
			} else {
				size += len(r.Refusal.Original)
			}
			return nil
		})
		if err == nil && size > len(b) {
			t.Fatalf("%d bytes came out of %d", size, len(b))
		}
	})
}

func TestReceipts(t *testing.T) {
	r, err := event.NewReceipts([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := event.NewReceipts([]byte("another key 1234"))
	for _, p := range []event.Position{0, event.At(1, 0), event.At(1, 1), event.At(1<<40, 65535)} {
		receipt := r.Of(p)
		if got, err := r.Position(receipt); got != p || err != nil {
			t.Errorf("Position(Of(%d)) = %d, %v", p, got, err)
		}
		if len(receipt) != 26 {
			t.Errorf("receipt %q has %d characters; want 26", receipt, len(receipt))
		}
		if _, err := other.Position(receipt); err != event.ErrReceipt {
			t.Errorf("another installation took receipt %q: %v", receipt, err)
		}
		// Each receipt has one spelling: no other last character decodes.
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			forged := receipt[:25] + string(c)
			if _, err := r.Position(forged); forged != receipt && err != event.ErrReceipt {
				t.Errorf("forged receipt %q was taken", forged)
			}
		}
	}
	for _, s := range []string{"", "x", "äöü", strings.Repeat("a", 26), strings.Repeat("a", 27), strings.Repeat("a", 25) + "\n", strings.Repeat("\n", 26)} {
		if _, err := r.Position(s); err != event.ErrReceipt {
			t.Errorf("Position(%q) = %v; want ErrReceipt", s, err)
		}
	}
}

func TestParseTimestamp(t *testing.T) {
	for text, want := range map[string]string{
		"2021-01-01T09:15:27.243860Z":       "2021-01-01T09:15:27.243860Z",
		"2021-01-01t09:15:27z":              "2021-01-01T09:15:27.000000Z",
		"2021-01-01 09:15:27.243860":        "2021-01-01T09:15:27.243860Z",
		"2021-01-01 09:15:27":               "2021-01-01T09:15:27.000000Z",
		"2021-01-01T09:15:27.999999999Z":    "2021-01-01T09:15:27.999999Z",
		"2021-01-01T09:15:27.1+02:00":       "2021-01-01T07:15:27.100000Z",
		"2021-01-01T00:15:27.1-23:59":       "2021-01-02T00:14:27.100000Z",
		"2024-02-29T00:00:00Z":              "2024-02-29T00:00:00.000000Z",
		"0000-01-01T00:00:00Z":              "0000-01-01T00:00:00.000000Z",
		"9999-12-31T23:59:59.999999Z":       "9999-12-31T23:59:59.999999Z",
		"1969-12-31T23:59:59.5Z":            "1969-12-31T23:59:59.500000Z",
		"":                                  "",
		"2021-01-01":                        "",
		"2021-01-01T09:15:27":               "",
		"2021-01-01T09:15Z":                 "",
		"2021-1-1T09:15:27Z":                "",
		"2021-02-29T00:00:00Z":              "",
		"2021-13-01T00:00:00Z":              "",
		"2021-01-01T24:00:00Z":              "",
		"2021-01-01T23:59:60Z":              "",
		"2021-01-01T09:15:27.Z":             "",
		"2021-01-01T09:15:27.1234567890Z":   "",
		"2021-01-01T09:15:27,5Z":            "",
		"2021-01-01T09:15:27+0200":          "",
		"2021-01-01T09:15:27+24:00":         "",
		"2021-01-01T09:15:27Zjunk":          "",
		"0000-01-01T00:00:00+00:01":         "",
		"9999-12-31T23:59:59-00:01":         "",
		"\u0662021-01-01T09:15:27Z":         "",
		"2021-01-01T09:15:27.24386\u0660Z":  "",
		"+021-01-01T09:15:27Z":              "",
		" 2021-01-01T09:15:27Z":             "",
		"2021-01-01T 9:15:27Z":              "",
		"2021-01-01T09:15:27.243860Z\n":     "",
		"99999-01-01T09:15:27.243860Z":      "",
		"2021-01-01T09:15:27.243860 +00:00": "",
	} {
		got := ""
		if m, ok := event.ParseTimestamp(text); ok {
			got = m.String()
		}
		if got != want {
			t.Errorf("ParseTimestamp(%q) = %q; want %q", text, got, want)
		}
	}
}

func TestInstantsAreWrittenAsTheLibraryDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := event.Micros(rapid.Int64Range(-70_000_000_000_000_000, 300_000_000_000_000_000).Draw(t, "micros"))
		if got, want := m.String(), m.Time().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Errorf("Micros(%d) = %s; want %s", m, got, want)
		}
	})
}

func TestOrderIsTotal(t *testing.T) {
	// Ascending, as the contract has it: time, then sequence with absent
	// first, then the order in which the journal took them.
	sorted := []event.Order{
		{1, event.NoSequence, 9}, {1, event.NoSequence, 10}, {1, 0, 3}, {1, 5, 2}, {1, 5, 8}, {2, event.NoSequence, 1},
	}
	for i, a := range sorted {
		for j, b := range sorted {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v.Compare(%v) = %d; want %d", a, b, got, want)
			}
		}
	}
}

func TestDigestTellsARetryFromAnIDUsedTwice(t *testing.T) {
	base := event.Event{Application: "a", ID: "1", SessionID: "s", Category: "c", Name: "n", Data: []byte(`{"a":1}`), Timestamp: 5, Sequence: event.NoSequence}
	same := base
	same.ReceivedAt, same.Position = 77, 88
	if base.Digest() != same.Digest() {
		t.Error("the server's own facts are in the digest")
	}
	for i, change := range []func(*event.Event){
		func(e *event.Event) { e.SessionID = "t" },
		func(e *event.Event) { e.Category, e.Name = "cn", "" },
		func(e *event.Event) { e.Data = []byte(`{"a": 1}`) },
		func(e *event.Event) { e.Timestamp++ },
		func(e *event.Event) { e.Sequence = 0 },
	} {
		other := base
		change(&other)
		if base.Digest() == other.Digest() {
			t.Errorf("change %d is not in the digest", i)
		}
	}
	if (event.Key{"ab", "c"}).Hash() == (event.Key{"a", "bc"}).Hash() {
		t.Error("the parts of a key run together")
	}
}

func TestViolationAsJSON(t *testing.T) {
	got, _ := json.Marshal(event.Violation{Pointer: "/data/path", Code: event.Required, Message: "path is missing"})
	want := `{"pointer":"/data/path","code":"required","message":"path is missing"}`
	if string(got) != want {
		t.Errorf("violation = %s; want %s", got, want)
	}
}

func BenchmarkRecords(b *testing.B) {
	e := event.Event{ID: "0191f2a4-7c1e-7d3a-9c55-0123456789ab", SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423",
		Category: "page interaction", Name: "cta click", Data: []byte(fmt.Sprintf(`{"x":%q}`, make([]byte, 64))), Timestamp: 1}
	buf := event.AppendHeader(nil, "web-shop", 1)
	for range 100 {
		buf = event.AppendEvent(buf, &e, 1)
	}
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, len(buf))
		for b.Loop() {
			dst = event.AppendEvent(dst[:0], &e, 1)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			event.DecodeRecords(buf, 1, func(event.Record) error { return nil })
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100), "ns/event")
	})
}

func BenchmarkDigest(b *testing.B) {
	e := event.Event{Application: "web-shop", ID: "0191f2a4-7c1e-7d3a-9c55-0123456789ab", SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423",
		Category: "page interaction", Name: "cta click", Data: make([]byte, 300), Timestamp: 1}
	b.Run("content", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Digest()
		}
	})
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Key().Hash()
		}
	})
}

func BenchmarkInstant(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = event.Micros(1609492527243860).Append(buf[:0])
	}
}
