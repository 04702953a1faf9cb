package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/the-eye/eye/client"
)

// receiptCommand is `eye receipt`.
type receiptCommand struct {
	Receipt string `arg:"" help:"The receipt that the server gave when it took the event."`
	JSON    bool   `name:"json" help:"Print it as JSON."`

	connection
	dataDir
}

// Help is printed below the flags.
func (*receiptCommand) Help() string {
	return `pending: it is on disk and not yet processed. stored: it can be read. duplicate: an
event with the same id was there first, which is shown. quarantined: it was refused,
for the reasons shown. deleted: it was removed on request.

Examples:
  eye receipt zx7qmfk2r5ywn4c3tbd6ujs2ae
  eye receipt --json zx7qmfk2r5ywn4c3tbd6ujs2ae | jq -r .disposition`
}

// Run asks and prints.
func (c *receiptCommand) Run(ctx context.Context, std *streams) error {
	from, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	r, err := from.Receipt(ctx, c.Receipt)
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return fmt.Errorf("there is no receipt %q, or not for this key: only the application that sent the event may ask, and who has events:read:all", c.Receipt)
	}
	if err != nil {
		return from.explain(err)
	}
	if c.JSON {
		return printJSON(std.out, struct {
			Receipt     string              `json:"receipt"`
			Disposition string              `json:"disposition"`
			Event       *client.StoredEvent `json:"event"`
			Violations  []client.Violation  `json:"violations"`
		}{r.Receipt, r.Disposition, r.Event, append([]client.Violation{}, r.Violations...)})
	}
	return printReceipt(newScreen(std.out, std.getenv), r)
}

// printReceipt prints a receipt for people.
func printReceipt(out screen, r client.Receipt) error {
	styles := map[string]style{"stored": green, "duplicate": yellow, "quarantined": red}
	text := out.paint(r.Disposition, styles[r.Disposition]) + "\n"
	if e := r.Event; e != nil {
		line := func(what, value string) {
			text += fmt.Sprintf("  %s  %s\n", out.paint(fmt.Sprintf("%-11s", what), dim), clean(value))
		}
		if r.Disposition == "duplicate" {
			text += "of the event that was there first:\n"
		}
		line("application", e.Application)
		line("id", e.ID)
		session := e.SessionID
		if e.Position > 0 {
			session += " (place " + strconv.FormatInt(e.Position, 10) + ")"
		}
		line("session", session)
		line("category", e.Category)
		line("name", e.Name)
		line("timestamp", instant(e.Timestamp))
		line("received", instant(e.ReceivedAt))
		line("data", oneLine(e.Data))
	}
	for _, v := range r.Violations {
		text += "  " + out.paint(clean(v.String()), red) + "\n"
	}
	_, err := fmt.Fprint(out.w, text)
	return err
}
