package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/the-eye/eye/client"
)

// sendCommand is `eye send`.
type sendCommand struct {
	Files []string `arg:"" optional:"" name:"file" help:"Files with events; - is standard input, which is also read without any."`

	Session   string `group:"one" placeholder:"ID" help:"Send one event: its session_id."`
	Category  string `group:"one" placeholder:"TEXT" help:"Its category."`
	Name      string `group:"one" placeholder:"TEXT" help:"Its name."`
	Data      string `group:"one" placeholder:"JSON" help:"Its payload, a JSON object."`
	ID        string `name:"id" group:"one" placeholder:"ID" help:"Its id; makes sending it again harmless."`
	Timestamp string `group:"one" placeholder:"TIME" help:"When it occurred, e.g. 2021-01-01T09:15:27.24Z; without it, now."`
	Sequence  *int64 `group:"one" placeholder:"N" help:"The application's own counter."`

	Wait  bool `help:"Wait until the events are processed, at most 30 seconds a batch, and count stored and duplicate ones."`
	Batch int  `default:"1000" placeholder:"N" help:"Events a request, up to 10,000; default ${default}."`
	JSON  bool `name:"json" help:"Print a JSON object for every refused event, and one with the totals at the end."`

	connection
	dataDirOnly
}

// Help is printed below the flags.
func (*sendCommand) Help() string {
	return `Files hold events as a JSON object, an array, or one object a line. They are read
piece by piece, whatever their size, and go to the server as they are; where an
event has no id it gets one, so that a request can be repeated without storing
anything twice. Refused events lie in quarantine; each is reported with its place
in the file, and the exit code is 1.

Examples:
  eye send events.ndjson
  zcat january.ndjson.gz | eye send
  eye send --json --wait events.json > report.ndjson
  eye send --session s-1 --category "page interaction" --name "cta click" --data '{"path":"/"}'`
}

// Run sends.
func (c *sendCommand) Run(ctx context.Context, std *streams) error {
	if c.Batch < 1 || c.Batch > 10_000 {
		return usageError("--batch is 1 to 10000")
	}
	one, err := c.one()
	if err != nil {
		return err
	}
	to, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	if one != nil {
		return c.sendOne(ctx, std, to, *one)
	}
	return c.sendFiles(ctx, std, to)
}

// wait is how long to wait for processing.
func (c *sendCommand) wait() time.Duration {
	if c.Wait {
		return 30 * time.Second
	}
	return 0
}

// one is the event that the flags describe, nil when they describe none.
func (c *sendCommand) one() (*client.Event, error) {
	if c.Session == "" && c.Category == "" && c.Name == "" && c.Data == "" && c.ID == "" && c.Timestamp == "" && c.Sequence == nil {
		return nil, nil
	}
	var missing []string
	for _, f := range [...]struct{ name, value string }{{"--session", c.Session}, {"--category", c.Category}, {"--name", c.Name}} {
		if f.value == "" {
			missing = append(missing, f.name)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, usageError("one event needs " + strings.Join(missing, " and ") + " too")
	case len(c.Files) > 0:
		return nil, usageError("send either files or the one event of the flags")
	}
	e := &client.Event{ID: c.ID, SessionID: c.Session, Category: c.Category, Name: c.Name, Sequence: c.Sequence}
	if c.Timestamp != "" {
		var err error
		if e.Timestamp, err = parseInstant(c.Timestamp); err != nil {
			return nil, err
		}
	}
	if c.Data != "" {
		if !json.Valid([]byte(c.Data)) {
			return nil, usageError("--data is no JSON: " + c.Data)
		}
		e.Data = json.RawMessage(c.Data)
	}
	return e, nil
}

// parseInstant reads a time in either form of the contract.
func parseInstant(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError("a time is written 2021-01-01T09:15:27Z or \"2021-01-01 09:15:27.243860\" (UTC), not " + text)
}

// sendOne sends one event and prints its outcome.
func (c *sendCommand) sendOne(ctx context.Context, std *streams, to *server, e client.Event) error {
	result, err := to.SendAndWait(ctx, c.wait(), e)
	if err != nil {
		return to.explain(err)
	}
	o := result.Outcomes[0]
	if c.JSON {
		err = printJSON(std.out, struct {
			Status     string             `json:"status"`
			ID         string             `json:"id"`
			Receipt    string             `json:"receipt,omitempty"`
			Violations []client.Violation `json:"violations,omitempty"`
		}{o.Status, o.ID, o.Receipt, o.Violations})
	} else if !o.Refused() {
		_, err = fmt.Fprintf(std.out, "%s, receipt %s\n", o.Status, o.Receipt)
	} else {
		for _, v := range o.Violations {
			fmt.Fprintln(std.err, "refused:", clean(v.String()))
		}
		if o.Receipt != "" {
			fmt.Fprintf(std.err, "It lies in quarantine, receipt %s.\n", o.Receipt)
		}
	}
	if err == nil && o.Refused() {
		return errSaid
	}
	return err
}

// printJSON prints v on a line, with < and & as they are.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
