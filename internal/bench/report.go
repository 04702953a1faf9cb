package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run has measured. Times are in milliseconds.
type Report struct {
	At      time.Time `json:"at"`
	Machine Machine   `json:"machine"`
	Load    Setting   `json:"load"`

	Bare  *Rates  `json:"bare,omitempty"`  // the bare handler under the same load, as fast as it can
	Eye   Rates   `json:"eye"`             //
	Ratio float64 `json:"ratio,omitempty"` // Eye's requests/s to Bare's; 0: not compared

	Requests     map[string]int64 `json:"requests"`                // by status, in all the time, warm-up included
	Broken       int64            `json:"broken"`                  // requests that got no answer
	NoConnection int64            `json:"no_connection,omitempty"` // attempts to connect that failed
	Unsent       int64            `json:"unsent,omitempty"`        // requests that were due and could not be sent for want of a free connection
	RefusedGood  int64            `json:"refused_good"`            // events refused though nothing is wrong with them
	AcceptedBad  int64            `json:"accepted_bad"`            // events accepted though a rule is broken

	Readable *Readable `json:"readable,omitempty"`
	Backlog  Backlog   `json:"backlog"`
	Server   *Server   `json:"server,omitempty"` // nil: not a child on a system that tells
	Disk     *Disk     `json:"disk,omitempty"`   // nil: not a server of our own
	Verdict  *Verdict  `json:"verdict,omitempty"`
	Samples  []sample  `json:"samples,omitempty"`
	Data     string    `json:"data,omitempty"`   // the directory kept
	Faults   []string  `json:"faults,omitempty"` // what ought not to be; none: all is well
}

// Machine is where it was measured.
type Machine struct {
	CPUs     int     `json:"cpus"`
	Platform string  `json:"platform"`
	Go       string  `json:"go"`
	Sync     float64 `json:"sync_p50_ms,omitempty"` // writing and syncing 4 KiB
	InMemory bool    `json:"in_memory,omitempty"`   // the data had no disk below it
}

// Setting is what was asked for.
type Setting struct {
	Connections int     `json:"connections"`
	Events      int     `json:"events_per_request"`
	Seconds     float64 `json:"seconds"`
	Rate        float64 `json:"rate,omitempty"`
	Bad         float64 `json:"bad,omitempty"`
	Duplicates  float64 `json:"duplicates,omitempty"`
}

// Rates is how fast a target answered.
type Rates struct {
	Seconds  float64 `json:"seconds"` // measured
	Requests float64 `json:"requests_per_second"`
	Events   float64 `json:"events_per_second"` // acknowledged
	Ack      Latency `json:"ack_ms"`            // from when it was due
}

// Latency is the spread of a time, in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func latencyOf(h *Histogram) Latency {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Latency{ms(h.Quantile(0.5)), ms(h.Quantile(0.99)), ms(h.Quantile(0.999)), ms(h.Max())}
}

// Readable is the time from acknowledgement until an event can be read.
type Readable struct {
	Latency
	Probes int64 `json:"probes"`
	Missed int64 `json:"missed"` // not readable within 30 s, counted as that
	Failed int64 `json:"failed"` // not acknowledged
}

// Backlog is what was acknowledged and not yet readable.
type Backlog struct {
	StoredPerSecond *float64 `json:"stored_per_second,omitempty"` // while the load ran, by the server's counter
	Slope           *float64 `json:"slope,omitempty"`             // events a second that it grew by while the load ran
	Most            *float64 `json:"most,omitempty"`              // events, at most
	Blocks          *float64 `json:"blocks,omitempty"`            // blocks, at most
	Drained         bool     `json:"drained"`                     // all was readable in time
	DrainSeconds    float64  `json:"drain_seconds"`               // from the end of the load until all was readable, or no longer waited for
	Overall         float64  `json:"overall_per_second"`          // events acknowledged, by the time from the first until all were readable
}

// Server is what the server's process used.
type Server struct {
	CPUSeconds      float64 `json:"cpu_seconds"` // while measured
	Cores           float64 `json:"cores"`
	MicrosPerEvent  float64 `json:"micros_per_event"`
	Resident        int64   `json:"resident"` // bytes, at the end of the load
	Peak            int64   `json:"peak"`     // bytes
	GeneratorCPU    float64 `json:"generator_cpu_seconds"`
	GeneratorMicros float64 `json:"generator_micros_per_request"`
}

// Disk is what lies on disk for the events.
type Disk struct {
	Journal         int64   `json:"journal"`           // bytes, when all was readable
	Store           int64   `json:"store"`             // bytes, after the server has ended
	JournalPerEvent float64 `json:"journal_per_event"` // bytes; duplicates and refusals share
	StorePerEvent   float64 `json:"store_per_event"`
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }

	row("load", "%s", r.Load.sentence())
	row("machine", "%d CPUs, %s, %s%s", r.Machine.CPUs, r.Machine.Platform, r.Machine.Go, r.Machine.disk())
	row("", "")
	if r.Bare != nil {
		row("bare handler", "%s requests/s, p50 %s, p99 %s", count(r.Bare.Requests), millis(r.Bare.Ack.P50), millis(r.Bare.Ack.P99))
	}
	ratio := ""
	if r.Ratio > 0 {
		ratio = fmt.Sprintf(", %.2f of the bare handler", r.Ratio)
	}
	row("requests", "%s/s%s", count(r.Eye.Requests), ratio)
	row("events acknowledged", "%s/s", count(r.Eye.Events))
	row("acknowledged after", "%s", r.Eye.Ack.sentence())
	row("answers", "%s", r.answers())
	if r.Readable != nil {
		more := ""
		if r.Readable.Missed+r.Readable.Failed > 0 {
			more = fmt.Sprintf(", %d never within 30 s, %d not acknowledged", r.Readable.Missed, r.Readable.Failed)
		}
		row("readable after", "%s (%d probes%s)", r.Readable.sentence(), r.Readable.Probes, more)
	}
	row("events stored", "%s", r.Backlog.stored())
	row("backlog", "%s", r.Backlog.sentence())
	if s := r.Server; s != nil {
		row("server", "%.2f cores, %.1f µs an event, %s resident, %s at most", s.Cores, s.MicrosPerEvent, megabytes(s.Resident), megabytes(s.Peak))
		row("generator", "%.1f µs a request", s.GeneratorMicros)
	}
	if d := r.Disk; d != nil {
		row("disk", "journal %.0f bytes an event (%s), store %.0f (%s)", d.JournalPerEvent, megabytes(d.Journal), d.StorePerEvent, megabytes(d.Store))
	}
	if v := r.Verdict; v != nil {
		row("read back", "%s", v.sentence())
		for _, e := range v.Examples {
			row("", "%s", e)
		}
	}
	if r.Data != "" {
		row("data", "%s", r.Data)
	}
	if len(r.Faults) == 0 {
		row("", "")
	}
	for i, f := range r.Faults {
		name := ""
		if i == 0 {
			name = "WRONG"
		}
		row(name, "%s", f)
	}
	return t.Flush()
}

func (s Setting) sentence() string {
	text := fmt.Sprintf("%d connections, %s a request, %.3g s", s.Connections, plural(s.Events, "event"), s.Seconds)
	if s.Rate > 0 {
		text += fmt.Sprintf(", %s events/s whatever the answers do", count(s.Rate))
	} else {
		text += ", as fast as answers come"
	}
	if s.Bad > 0 {
		text += fmt.Sprintf(", %.3g %% bad", s.Bad*100)
	}
	if s.Duplicates > 0 {
		text += fmt.Sprintf(", %.3g %% duplicates", s.Duplicates*100)
	}
	return text
}

func (m Machine) disk() string {
	switch {
	case m.InMemory:
		return "; the data has NO DISK below it (a file system in memory): syncing costs nothing here"
	case m.Sync > 0:
		return fmt.Sprintf("; write and sync 4 KiB: %s", millis(m.Sync))
	}
	return ""
}

func (l Latency) sentence() string {
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", millis(l.P50), millis(l.P99), millis(l.P999), millis(l.Max))
}

// answers lists how many requests got which answer.
func (r *Report) answers() string {
	var parts []string
	statuses := make([]string, 0, len(r.Requests))
	for s := range r.Requests {
		statuses = append(statuses, s)
	}
	slices.Sort(statuses)
	for _, s := range statuses {
		parts = append(parts, fmt.Sprintf("%s × %s", s, count(float64(r.Requests[s]))))
	}
	for _, x := range []struct {
		n    int64
		what string
	}{
		{r.Broken, "requests without an answer"},
		{r.NoConnection, "failed connections"},
		{r.Unsent, "requests due and not sent"},
		{r.RefusedGood, "good events refused"},
		{r.AcceptedBad, "bad events accepted"},
	} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(float64(x.n)), x.what))
		}
	}
	return strings.Join(parts, ", ")
}

func (b Backlog) stored() string {
	var parts []string
	if b.StoredPerSecond != nil {
		parts = append(parts, count(*b.StoredPerSecond)+"/s under load")
	}
	if b.Drained {
		parts = append(parts, count(b.Overall)+"/s from the first until all were readable")
	}
	if len(parts) == 0 {
		return "unknown"
	}
	return strings.Join(parts, ", ")
}

func (b Backlog) sentence() string {
	text := fmt.Sprintf("readable %.3g s after the load", b.DrainSeconds)
	if !b.Drained {
		text = "NOT " + text
	}
	if b.Most != nil {
		text += fmt.Sprintf(", at most %s events", count(*b.Most))
	}
	if b.Blocks != nil {
		text += fmt.Sprintf(", at most %s blocks", count(*b.Blocks))
	}
	if b.Slope != nil {
		text += fmt.Sprintf(", %+.0f events/s while the load ran", *b.Slope)
	}
	return text
}

func (v *Verdict) sentence() string {
	what := "all"
	if v.Share < 1 {
		what = fmt.Sprintf("a sample (%.3g %% of the time)", v.Share*100)
	}
	text := fmt.Sprintf("%s: %s acknowledged, %s read in %.3g s", what, count(float64(v.Acknowledged)), count(float64(v.Read)), v.Seconds)
	if v.Unsure > 0 {
		text += fmt.Sprintf(", %s without an answer", count(float64(v.Unsure)))
	}
	if v.OK() {
		return text + "; each exactly once"
	}
	return text + fmt.Sprintf("; %d LOST, %d DOUBLED, %d UNEXPECTED, %d ALTERED", v.Lost, v.Doubled, v.Unexpected, v.Altered)
}

// count is a number with its thousands apart.
func count(v float64) string {
	if v > -100 && v < 100 && v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	text := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

func millis(ms float64) string {
	switch {
	case ms >= 10000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.2f ms", ms)
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(float64(n)) + " " + noun + "s"
}
