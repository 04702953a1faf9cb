package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/the-eye/eye/client"
)

// tailCommand is `eye tail`.
type tailCommand struct {
	Application string            `group:"filter" placeholder:"ID" help:"Only events of this application."`
	Category    string            `group:"filter" placeholder:"TEXT" help:"Only events of this category."`
	Name        string            `group:"filter" placeholder:"TEXT" help:"Only events of this name."`
	Session     string            `group:"filter" placeholder:"ID" help:"Only events of this session."`
	Data        map[string]string `group:"filter" mapsep:"none" placeholder:"PATH=VALUE" help:"Only events whose payload has the value at the dotted path; may be given more than once."`

	Latest int  `name:"latest" short:"n" placeholder:"N" help:"Begin with the latest N events."`
	Follow bool `negatable:"" default:"true" help:"Go on with events as they are stored, until Ctrl-C."`
	JSON   bool `name:"json" help:"Print events as JSON, one a line."`

	connection
	dataDirOnly
}

// Help is printed below the flags.
func (*tailCommand) Help() string {
	return `Every event is a line: when it occurred (UTC), application, category, name, session
and payload. When the connection is lost it is made again, and what was missed follows.

Examples:
  eye tail
  eye tail -n 20 --category "page interaction"
  eye tail --data path=/checkout --data cart.items.0.sku=A-1
  eye tail --json | jq .data.path
  eye tail -n 100 --no-follow`
}

// Run prints events until it is interrupted.
func (c *tailCommand) Run(ctx context.Context, std *streams) error {
	if c.Latest < 0 {
		return usageError("-n is a number of events")
	}
	from, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	t := &tail{command: c, std: std, from: from, table: newEventTable(newScreen(std.out, std.getenv))}
	if !c.Follow {
		return from.explain(t.latest(ctx))
	}
	err = t.follow(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how it ends
	}
	return from.explain(err)
}

// newEventTable is a table of events of any session.
func newEventTable(s screen) *table {
	return &table{screen: s, columns: []column{
		{title: "TIME (UTC)", style: dim, width: len(timeFormat)},
		{title: "APPLICATION", style: blue, width: 11},
		{title: "CATEGORY", style: cyan, width: 16},
		{title: "NAME", style: bold, width: 16},
		{title: "SESSION", style: dim, width: 12},
		{title: "DATA"},
	}}
}

// tail is one run of the command.
type tail struct {
	command *tailCommand
	std     *streams
	from    *server
	table   *table
	shown   map[[2]string]bool // of the latest, by application and id; nil later
}

func (t *tail) filter() client.Filter {
	c := t.command
	return client.Filter{Application: c.Application, Category: c.Category, Name: c.Name, SessionID: c.Session, Data: c.Data}
}

// follow prints the latest events and goes on with those that come. It asks for
// the latest when the stream is open, so that none falls between the two; what
// comes in both is printed once.
func (t *tail) follow(ctx context.Context) error {
	begun := false
	for l, err := range t.from.Tail(ctx, t.filter(), "") {
		if err != nil {
			return err
		}
		switch l.Kind {
		case client.LiveConnected:
			if begun {
				fmt.Fprintln(t.std.err, "eye: connected again")
				continue
			}
			begun = true
			err = t.latest(ctx)
		case client.LiveLost:
			fmt.Fprintf(t.std.err, "eye: the connection is lost (%v); trying again\n", l.Err)
		case client.LiveLagged:
			fmt.Fprintf(t.std.err, "eye: events come faster than they are read here; some were left out: %s\n", clean(string(l.Lagged)))
		case client.LiveEvent:
			key := [2]string{l.Event.Application, l.Event.ID}
			if !t.shown[key] {
				err = t.print(l.Event)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// latest prints the latest events, the newest last.
func (t *tail) latest(ctx context.Context) error {
	n := t.command.Latest
	if n == 0 {
		return nil
	}
	f := t.filter()
	f.Descending = true
	f.PageSize = min(n, 1000)
	events := make([]client.StoredEvent, 0, min(n, 1000))
	for e, err := range t.from.Events(ctx, f) {
		if err != nil {
			return err
		}
		if events = append(events, e); len(events) == n {
			break
		}
	}
	slices.Reverse(events)
	t.shown = make(map[[2]string]bool, len(events))
	for _, e := range events {
		if err := t.print(e); err != nil {
			return err
		}
		t.shown[[2]string{e.Application, e.ID}] = true
	}
	return nil
}

// print prints one event.
func (t *tail) print(e client.StoredEvent) error {
	if t.command.JSON {
		return printJSON(t.std.out, e)
	}
	return t.table.row(instant(e.Timestamp), clean(e.Application), clean(e.Category), clean(e.Name), clean(e.SessionID), clean(oneLine(e.Data)))
}

// instant shows a time.
func instant(t time.Time) string { return t.UTC().Format(timeFormat) }
