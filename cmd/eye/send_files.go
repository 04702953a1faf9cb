package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/the-eye/eye/client"
)

const (
	// batchBytes bounds a request; the server takes 16 MiB.
	batchBytes = 4 << 20

	// lull is how long events wait for others when nothing more comes, as at
	// the end of `tail -f | eye send`.
	lull = 200 * time.Millisecond

	// patience is how long a request is repeated once the server was there.
	patience = time.Minute
)

// transfer is the way of files to the server.
type transfer struct {
	command *sendCommand
	std     *streams
	to      *server
	client  *client.Client // patient as soon as a request has come through
	bar     *progressbar.ProgressBar
	read    atomic.Int64 // bytes

	accepted, rejected, stored, duplicate int64
	first, last                           string // receipts
}

// sendFiles sends all events of the files.
func (c *sendCommand) sendFiles(ctx context.Context, std *streams, to *server) error {
	files := c.Files
	if len(files) == 0 {
		if terminal(std.in) {
			fmt.Fprintln(std.err, "Reading events from the terminal; Ctrl-D ends them.")
		}
		files = []string{"-"}
	}
	t := &transfer{command: c, std: std, to: to, client: to.Client}
	if terminal(std.err) && (len(c.Files) > 0 || !terminal(std.in)) {
		t.bar = newBar(std, files)
	}

	reading, stop := context.WithCancel(ctx)
	records := make(chan record, 100)
	readErr := make(chan error, 1)
	go func() {
		// Where it waits for standard input nothing can wake it; then it ends
		// with the process.
		err := readAll(reading, files, std.in, func(n int) { t.read.Add(int64(n)) }, records)
		close(records)
		readErr <- err
	}()
	start := time.Now()
	err := t.sendAll(ctx, records)
	stop()
	if err == nil {
		err = <-readErr
	}
	if t.bar != nil {
		t.bar.Clear()
	}
	if err == nil || t.accepted+t.rejected > 0 {
		if e := t.sum(time.Since(start)); err == nil {
			err = e
		}
	}
	if err == nil && t.rejected > 0 {
		return errSaid
	}
	return err
}

// newBar is the progress bar over the bytes of the files.
func newBar(std *streams, files []string) *progressbar.ProgressBar {
	var size int64
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			size = -1
			break
		}
		size += info.Size()
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(std.err),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine of its own
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// sendAll sends records in batches until there are no more.
func (t *transfer) sendAll(ctx context.Context, records <-chan record) error {
	var batch []record
	var size int
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := t.send(ctx, batch)
		batch, size = batch[:0], 0
		return err
	}
	timer := time.NewTimer(lull)
	defer timer.Stop()
	for {
		timer.Reset(lull)
		select {
		case r, more := <-records:
			if !more {
				return send()
			}
			if size+len(r.json) > batchBytes {
				if err := send(); err != nil {
					return err
				}
			}
			batch = append(batch, r)
			size += len(r.json)
			if len(batch) < t.command.Batch {
				continue
			}
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := send(); err != nil {
			return err
		}
	}
}

// send sends one batch and reports what became of it.
func (t *transfer) send(ctx context.Context, batch []record) error {
	events := make([]json.RawMessage, len(batch))
	for i := range batch {
		events[i] = batch[i].json
	}
	result, err := t.client.SendJSON(ctx, t.command.wait(), events...)
	for i, o := range result.Outcomes {
		if e := t.settle(batch[i].at, o); e != nil {
			return e
		}
	}
	if err != nil {
		done := t.accepted + t.rejected
		err = t.to.explain(errors.Unwrap(err))
		if done == 0 {
			return err
		}
		return fmt.Errorf("stopped near %s, after %s: %w", batch[0].at, count(done, "event"), err)
	}
	if t.client == t.to.Client {
		if t.client, err = t.to.with(patience); err != nil {
			return err
		}
	}
	if t.bar != nil {
		t.bar.Describe(count(t.accepted+t.rejected, "event"))
		t.bar.Set64(t.read.Load())
	}
	return nil
}

// settle counts one event, and reports it if it was refused.
func (t *transfer) settle(at place, o client.Outcome) error {
	if o.Receipt != "" {
		if t.first == "" {
			t.first = o.Receipt
		}
		t.last = o.Receipt
	}
	switch {
	case o.Status == "":
		return nil
	case !o.Refused():
		t.accepted++
		switch o.Status {
		case "stored":
			t.stored++
		case "duplicate":
			t.duplicate++
		}
		return nil
	}
	t.rejected++
	if t.command.JSON {
		return printJSON(t.std.out, struct {
			File       string             `json:"file"`
			Line       int                `json:"line,omitempty"`
			Index      int                `json:"index"`
			ID         string             `json:"id,omitempty"`
			Receipt    string             `json:"receipt,omitempty"`
			Violations []client.Violation `json:"violations"`
		}{at.file, at.line, at.index, o.ID, o.Receipt, o.Violations})
	}
	if t.bar != nil {
		t.bar.Clear()
	}
	for _, v := range o.Violations {
		fmt.Fprintf(t.std.err, "%s: %s\n", at, clean(v.String()))
	}
	return nil
}

// sum prints the totals.
func (t *transfer) sum(took time.Duration) error {
	if t.command.JSON {
		type receipts struct {
			First string `json:"first"`
			Last  string `json:"last"`
		}
		totals := struct {
			Accepted  int64     `json:"accepted"`
			Rejected  int64     `json:"rejected"`
			Stored    *int64    `json:"stored,omitempty"`
			Duplicate *int64    `json:"duplicate,omitempty"`
			Receipts  *receipts `json:"receipts,omitempty"`
			Seconds   float64   `json:"seconds"`
		}{Accepted: t.accepted, Rejected: t.rejected, Seconds: took.Round(time.Millisecond).Seconds()}
		if t.command.Wait {
			totals.Stored, totals.Duplicate = &t.stored, &t.duplicate
		}
		if t.first != "" {
			totals.Receipts = &receipts{t.first, t.last}
		}
		return printJSON(t.std.out, totals)
	}
	line := count(t.accepted, "event") + " accepted"
	if t.command.Wait {
		line += fmt.Sprintf(" (%d stored, %d duplicate, %d not yet processed)", t.stored, t.duplicate, t.accepted-t.stored-t.duplicate)
	}
	if t.rejected > 0 {
		line += fmt.Sprintf(", %d refused (they lie in quarantine)", t.rejected)
	}
	if t.first != "" && t.accepted+t.rejected == 1 {
		line += ", receipt " + t.first
	}
	_, err := fmt.Fprintln(t.std.out, line)
	return err
}
