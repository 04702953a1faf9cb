package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// IdleOptions say how Idle measures.
type IdleOptions struct {
	Dir      string        // where the data directory goes; "" is the system's for temporary files
	Program  string        // the eye executable; "" is the running one
	Settle   time.Duration // time before measuring
	Duration time.Duration // time measured
	Say      func(sentence string)
}

// IdleReport is what a server uses that nobody talks to.
type IdleReport struct {
	At           time.Time `json:"at"`
	StartSeconds float64   `json:"start_seconds"` // from the start of the process until it was ready
	Seconds      float64   `json:"seconds"`       // measured
	CPUSeconds   float64   `json:"cpu_seconds"`
	CPUPercent   float64   `json:"cpu_percent"` // of one core
	Resident     int64     `json:"resident"`    // bytes, at the end
	Peak         int64     `json:"peak"`        // bytes, since the start
}

// Idle starts a server with an empty data directory, leaves it alone, and
// measures what it uses.
func Idle(ctx context.Context, o IdleOptions) (r *IdleReport, err error) {
	if o.Settle < 0 || o.Duration <= 0 || o.Settle+o.Duration > maxDuration {
		return nil, fmt.Errorf("settle %v and duration %v must be positive and at most %v together", o.Settle, o.Duration, maxDuration)
	}
	program, err := programOf(o.Program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "eye-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	began := time.Now()
	server, _, err := serve(ctx, program, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	r = &IdleReport{At: began.UTC(), StartSeconds: time.Since(began).Seconds()}
	if o.Say != nil {
		o.Say(fmt.Sprintf("ready after %.2f s; measuring for %v after %v", r.StartSeconds, o.Duration, o.Settle))
	}
	wait(ctx, o.Settle)
	first, err := processOf(server.pid)
	if err != nil {
		return nil, fmt.Errorf("measure the server: %w", err)
	}
	start := time.Now()
	wait(ctx, o.Duration)
	last, err := processOf(server.pid)
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return nil, fmt.Errorf("measure the server: %w", err)
	}
	r.Seconds = time.Since(start).Seconds()
	r.CPUSeconds = (last.cpu - first.cpu).Seconds()
	r.CPUPercent = r.CPUSeconds / r.Seconds * 100
	r.Resident, r.Peak = last.resident, last.peak
	return r, nil
}

// Write prints the report for people.
func (r *IdleReport) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "ready after\t%.2f s\n", r.StartSeconds)
	fmt.Fprintf(t, "idle\t%.2f s of CPU in %.3g s: %.2f %% of a core\n", r.CPUSeconds, r.Seconds, r.CPUPercent)
	fmt.Fprintf(t, "resident\t%s, %s at most\n", megabytes(r.Resident), megabytes(r.Peak))
	return t.Flush()
}

// programOf is the executable to start children with.
func programOf(program string) (string, error) {
	if program != "" {
		return program, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the eye executable: %w", err)
	}
	return program, nil
}
