package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/the-eye/eye/client"
)

// sessionCommand is `eye session`.
type sessionCommand struct {
	ID   string `arg:"" help:"The session's id."`
	JSON bool   `name:"json" help:"Print the events as JSON, one a line."`

	connection
	dataDir
}

// Help is printed below the flags.
func (*sessionCommand) Help() string {
	return `Prints the events in the one order that every reader sees: by timestamp, then by
the application's own sequence, then as they arrived. A gap is the time since the event before.

Examples:
  eye session e2085be5-9137-4e4e-80b5-f1ffddc25423
  eye session --json s-1 | jq -r .name`
}

// sample is how many events are looked at to set the columns; a session may be
// larger than the memory.
const sample = 200

// Run prints the session.
func (c *sessionCommand) Run(ctx context.Context, std *streams) error {
	from, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	s, err := from.Session(ctx, c.ID)
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return fmt.Errorf("there is no session %q among the events that this key may read; events:read sees the application's own events, events:read:all sees all", c.ID)
	}
	if err != nil {
		return from.explain(err)
	}
	if c.JSON {
		for e, err := range from.SessionEvents(ctx, c.ID) {
			if err != nil {
				return from.explain(err)
			}
			if err := printJSON(std.out, e); err != nil {
				return err
			}
		}
		return nil
	}
	out := newScreen(std.out, std.getenv)
	lasting := s.LastTimestamp.Sub(s.FirstTimestamp)
	fmt.Fprintf(std.out, "Session %s: %s of %s from %s, lasting %s\n\n", out.paint(clean(s.ID), bold), count(s.Events, "event"),
		clean(strings.Join(s.Applications, ", ")), instant(s.FirstTimestamp), strings.TrimPrefix(gap(lasting), "+"))
	return from.explain(c.print(ctx, out, from))
}

// print prints the table of events.
func (c *sessionCommand) print(ctx context.Context, out screen, from *server) error {
	t := &table{screen: out, columns: []column{
		{title: "#", style: dim, right: true},
		{title: "TIME (UTC)", style: dim},
		{title: "GAP", style: yellow, right: true},
		{title: "APPLICATION", style: blue},
		{title: "CATEGORY", style: cyan},
		{title: "NAME", style: bold},
		{title: "DATA"},
	}}
	var held [][]string // rows that set the columns
	show := func() error {
		for _, row := range held {
			t.fit(row)
		}
		if err := t.header(); err != nil {
			return err
		}
		for _, row := range held {
			if err := t.row(row...); err != nil {
				return err
			}
		}
		return nil
	}
	var before time.Time
	n := 0
	for e, err := range from.SessionEvents(ctx, c.ID) {
		if err != nil {
			return err
		}
		since := ""
		if !before.IsZero() {
			since = gap(e.Timestamp.Sub(before))
		}
		before = e.Timestamp
		row := []string{strconv.FormatInt(e.Position, 10), instant(e.Timestamp), since, clean(e.Application), clean(e.Category), clean(e.Name), clean(oneLine(e.Data))}
		switch n++; {
		case n < sample:
			held = append(held, row)
			continue
		case n == sample:
			held = append(held, row)
			err = show()
		default:
			err = t.row(row...)
		}
		if err != nil {
			return err
		}
	}
	if n < sample {
		return show()
	}
	return nil
}
