package bench

import (
	"bufio"
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sample is what the server said about itself at one moment. A number that it
// does not publish is below zero.
type sample struct {
	At      float64 `json:"at_s"`     // since the load began
	Stored  float64 `json:"stored"`   // events, since the server started
	Backlog float64 `json:"backlog"`  // events, refused ones too, in the journal and not yet processed
	Blocks  float64 `json:"blocks"`   // the same in blocks of the journal
	CPU     float64 `json:"cpu_s"`    // seconds of processor time used by the server
	RSS     int64   `json:"resident"` // bytes
}

// sampler reads /metrics and the state of the server's process now and then.
type sampler struct {
	remote *remote // as the operator
	pid    int     // 0: unknown
	start  time.Time

	mu   sync.Mutex
	seen []sample // guarded by mu
}

// run takes a sample each interval until ctx ends.
func (s *sampler) run(ctx context.Context, interval time.Duration) {
	for ctx.Err() == nil {
		s.take(ctx)
		wait(ctx, interval)
	}
}

// take takes one sample.
func (s *sampler) take(ctx context.Context) {
	x := sample{Stored: -1, Backlog: -1, Blocks: -1, CPU: -1, RSS: -1}
	var text []byte
	if _, err := s.remote.call(ctx, "GET", "/metrics", nil, &text); err == nil {
		x.read(parseMetrics(text))
	}
	x.At = time.Since(s.start).Seconds()
	if p, err := processOf(s.pid); err == nil {
		x.CPU, x.RSS = p.cpu.Seconds(), p.resident
	}
	s.mu.Lock()
	s.seen = append(s.seen, x)
	s.mu.Unlock()
}

// between lists the samples of a time.
func (s *sampler) between(from, to time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in []sample
	for _, x := range s.seen {
		if at := s.start.Add(time.Duration(x.At * float64(time.Second))); !at.Before(from) && !at.After(to) {
			in = append(in, x)
		}
	}
	return in
}

// read takes the numbers that matter out of all.
func (x *sample) read(all map[string]float64) {
	get := func(name string) float64 {
		if v, ok := all[name]; ok {
			return v
		}
		return -1
	}
	x.Stored = get("eye_process_records_total{stored}")
	if in, out := get("eye_journal_records_total"), get("eye_process_records_total"); in >= 0 && out >= 0 {
		x.Backlog = max(0, in-out)
	}
	if last, done := get("eye_journal_last_block"), get("eye_process_committed_block"); last >= 0 && done >= 0 {
		x.Blocks = max(0, last-done)
	}
}

// parseMetrics sums the series of each metric in the Prometheus text format,
// altogether as NAME and for each value of a label as NAME{VALUE}.
func parseMetrics(text []byte) map[string]float64 {
	all := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, labels, rest := line, "", ""
		if i := strings.IndexByte(line, '{'); i >= 0 {
			j := strings.LastIndexByte(line, '}')
			if j < i {
				continue
			}
			name, labels, rest = line[:i], line[i+1:j], line[j+1:]
		} else if i := strings.IndexByte(line, ' '); i >= 0 {
			name, rest = line[:i], line[i:]
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
			all[name] += v
			for i, part := range strings.Split(labels, `"`) {
				if i%2 == 1 { // good enough for the values looked for, which have no quotes in them
					all[name+"{"+part+"}"] += v
				}
			}
		}
	}
	return all
}

// slope is how fast a number changes per second, by least squares; false when
// fewer than three samples know it.
func slope(seen []sample, number func(sample) float64) (perSecond float64, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for _, s := range seen {
		if y := number(s); y >= 0 {
			n, sx, sy, sxx, sxy = n+1, sx+s.At, sy+y, sxx+s.At*s.At, sxy+s.At*y
		}
	}
	d := n*sxx - sx*sx
	if n < 3 || d <= 0 {
		return 0, false
	}
	return (n*sxy - sx*sy) / d, true
}
