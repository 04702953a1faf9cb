package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// timeFormat is how instants are shown: UTC, to the microsecond.
const timeFormat = "2006-01-02 15:04:05.000000"

// style is an ANSI style of text; "" is plain.
type style string

// The styles.
const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "34"
	cyan   style = "36"
)

// screen is where text for people goes.
type screen struct {
	w       io.Writer
	colours bool
	width   int // columns; 0 where there is no terminal to keep within
}

// newScreen looks at what w is.
func newScreen(w io.Writer, getenv func(string) string) screen {
	s := screen{w: w}
	if !terminal(w) {
		return s
	}
	s.colours = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil {
		s.width = width
	}
	return s
}

// terminal tells whether stream, an io.Reader or io.Writer, is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paint gives text a style.
func (s screen) paint(text string, how style) string {
	if !s.colours || how == plain || text == "" {
		return text
	}
	return "\x1b[" + string(how) + "m" + text + "\x1b[0m"
}

// clean makes text from elsewhere harmless on a terminal: an event may hold
// control characters that would move the cursor or turn the text around.
func clean(text string) string {
	harmless := func(r rune) bool {
		return unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r) && r != unicode.ReplacementChar
	}
	if strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if harmless(r) || r == unicode.ReplacementChar || r == '\u200d' { // the joiner makes emoji
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// cut shortens text to width columns.
func cut(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	used := 0
	for g := uniseg.NewGraphemes(text); g.Next(); {
		if used+g.Width() > width-1 {
			break
		}
		used += g.Width()
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// oneLine is JSON without the space between its parts.
func oneLine(data json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return string(data)
	}
	return b.String()
}

// column is one column of a table.
type column struct {
	title string
	style style
	width int  // at least; it grows with what comes
	right bool // numbers
}

// widest is how far a column grows on a terminal; longer text is cut there.
const widest = 40

// table prints rows in columns. The last column takes what is left of the line.
type table struct {
	screen  screen
	columns []column
}

// fit makes room for a row that will come.
func (t *table) fit(cells []string) {
	for i := range t.columns[:len(t.columns)-1] {
		c := &t.columns[i]
		width := uniseg.StringWidth(cells[i])
		if t.screen.width > 0 {
			width = min(width, widest)
		}
		c.width = max(c.width, width)
	}
}

// header prints the titles.
func (t *table) header() error {
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	t.fit(titles)
	return t.print(titles, func(int) style { return dim })
}

// row prints one row; the cells are clean.
func (t *table) row(cells ...string) error {
	t.fit(cells)
	return t.print(cells, func(i int) style { return t.columns[i].style })
}

func (t *table) print(cells []string, styleOf func(int) style) error {
	var b strings.Builder
	used := 0
	for i, cell := range cells {
		c := t.columns[i]
		last := i == len(cells)-1
		switch {
		case t.screen.width > 0 && last:
			cell = cut(cell, max(8, t.screen.width-used))
		case t.screen.width > 0:
			cell = cut(cell, widest)
		}
		pad := strings.Repeat(" ", max(0, c.width-uniseg.StringWidth(cell)))
		if c.right {
			b.WriteString(pad)
		}
		b.WriteString(t.screen.paint(cell, styleOf(i)))
		if last {
			break
		}
		if !c.right {
			b.WriteString(pad)
		}
		b.WriteString("  ")
		used += max(c.width, uniseg.StringWidth(cell)) + 2
	}
	_, err := io.WriteString(t.screen.w, strings.TrimRight(b.String(), " ")+"\n")
	return err
}

// gap says how long after another something occurred.
func gap(d time.Duration) string {
	switch {
	case d < time.Second:
		return "+" + d.String()
	case d < time.Minute:
		return "+" + d.Round(time.Millisecond).String()
	case d < 24*time.Hour:
		return "+" + d.Round(time.Second).String()
	}
	d = d.Round(time.Hour)
	return fmt.Sprintf("+%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// count says how many: "1 event", "2 events".
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
