package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                    "",
		"cta click":           "cta click",
		"日本語 é 👩‍👩‍👧 €":       "日本語 é 👩‍👩‍👧 €",
		"\x1b[31mred":         `\u001b[31mred`,
		"two\nlines\ttab":     `two\u000alines\u0009tab`,
		"\u009b31m\u007f":     `\u009b31m\u007f`,
		"\u202eevil\u2066":    `\u202eevil\u2066`,
		"\u2028 \u200b":       `\u2028 \u200b`,
		"not\xffutf8 \ufffd.": "not\ufffdutf8 \ufffd.",
	} {
		if got := clean(text); got != want {
			t.Errorf("clean(%q) = %q; want %q", text, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b\u202e👩‍👩")
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		if strings.ContainsAny(got, "\x00\x07\x08\n\r\x1b\x7f\u009b\u202e\u2028") {
			t.Errorf("clean(%q) = %q still has control characters", text, got)
		}
		if again := clean(got); again != got {
			t.Errorf("clean(%q) = %q; want it as it is", got, again)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"é́x́y", 2, "é́…"},
	} {
		if got := cut(test.text, test.width); got != test.want {
			t.Errorf("cut(%q, %d) = %q; want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                               "+0s",
		140 * time.Microsecond:          "+140µs",
		999_999 * time.Microsecond:      "+999.999ms",
		59_999_600 * time.Microsecond:   "+1m0s",
		12_345_678 * time.Microsecond:   "+12.346s",
		3*time.Minute + 999_999_999:     "+3m1s",
		23*time.Hour + 59*time.Minute:   "+23h59m0s",
		24 * time.Hour:                  "+1d0h",
		400*24*time.Hour + 90*time.Hour: "+403d18h",
	} {
		if got := gap(d); got != want {
			t.Errorf("gap(%v) = %q; want %q", d, got, want)
		}
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Web shop":                "web-shop",
		"  Bob's -- Web/Shop! ":   "bobs-web-shop",
		"shop-2":                  "shop-2",
		"Größe":                   "gr-e",
		"日本":                      "",
		"":                        "",
		strings.Repeat("ab ", 99): strings.TrimSuffix(strings.Repeat("ab-", 21), "-"),
	} {
		if got := slug(name); got != want {
			t.Errorf("slug(%q) = %q; want %q", name, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	columns := func() []column {
		return []column{{title: "N", right: true}, {title: "NAME", style: bold, width: 5}, {title: "DATA"}}
	}
	long := strings.Repeat("x", 60)
	for _, test := range []struct {
		name   string
		screen screen
		want   string
	}{
		{"into a file nothing is cut or coloured", screen{}, "" +
			"N  NAME   DATA\n" +
			"1  a      first\n" +
			"10  a longer name  " + long + "\n" +
			" 2                 second\n" +
			" 3  b\n"},
		{"on a terminal the last column is cut", screen{width: 30}, "" +
			"N  NAME   DATA\n" +
			"1  a      first\n" +
			"10  a longer name  " + strings.Repeat("x", 10) + "…\n" +
			" 2                 second\n" +
			" 3  b\n"},
		{"colours do not change the columns", screen{colours: true}, "" +
			"\x1b[2mN\x1b[0m  \x1b[2mNAME\x1b[0m   \x1b[2mDATA\x1b[0m\n" +
			"1  \x1b[1ma\x1b[0m      first\n" +
			"10  \x1b[1ma longer name\x1b[0m  " + long + "\n" +
			" 2                 second\n" +
			" 3  \x1b[1mb\x1b[0m\n"},
	} {
		var out strings.Builder
		test.screen.w = &out
		tab := &table{screen: test.screen, columns: columns()}
		if err := tab.header(); err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]string{{"1", "a", "first"}, {"10", "a longer name", long}, {"2", "", "second"}, {"3", "b", ""}} {
			if err := tab.row(row...); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(test.want, out.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}
