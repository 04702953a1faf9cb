package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/bench"
)

var bg = context.Background()

// options are small and against the fake.
func options(t *testing.T, f *fake) bench.Options {
	t.Helper()
	srv := httptest.NewServer(f.handler())
	t.Cleanup(srv.Close)
	o := bench.Defaults()
	o.URL, o.Key, o.Dir = srv.URL, f.key, t.TempDir()
	o.Connections, o.Requests, o.Duration, o.Bare, o.Probes = 4, 200, 20*time.Second, 0, 20
	o.Drain = 10 * time.Second
	return o
}

func ingest(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	r, err := bench.Ingest(t.Context(), o)
	if err != nil {
		t.Fatalf("Ingest: %v", err)
	}
	var table bytes.Buffer
	if err := r.Write(&table); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if strings.Contains(table.String(), "%!") {
		t.Errorf("the table has a mistake:\n%s", &table)
	}
	t.Logf("\n%s", &table)
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("as JSON: %v", err)
	}
	return r
}

func TestHonestServerPasses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*bench.Options, *fake)
		acked  int64 // by the load, at least
	}{
		{"single events", func(*bench.Options, *fake) {}, 200},
		{"batches", func(o *bench.Options, f *fake) { o.Events = 25 }, 5000},
		{"bad and repeated events in batches", func(o *bench.Options, f *fake) {
			o.Events, o.Bad, o.Duplicates = 20, 0.2, 0.2
		}, 2000},
		{"bad and repeated single events", func(o *bench.Options, f *fake) { o.Bad, o.Duplicates = 0.2, 0.2 }, 80},
		{"only bad events", func(o *bench.Options, f *fake) { o.Bad, o.Events = 1, 3 }, 0},
		{"open loop", func(o *bench.Options, f *fake) { o.Rate = 2000 }, 200},
		{"refusals for want of room", func(o *bench.Options, f *fake) { f.refuse = 5 }, 150},
		{"small pages", func(o *bench.Options, f *fake) { f.pages = 7 }, 200},
		{"slow processing", func(o *bench.Options, f *fake) { f.delay = 200 * time.Millisecond }, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake("operator")
			o := options(t, f)
			tt.change(&o, f)
			r := ingest(t, o)
			if len(r.Faults) > 0 {
				t.Errorf("Faults = %q; want none", r.Faults)
			}
			if r.Verdict == nil || !r.Verdict.OK() || r.Verdict.Share != 1 {
				t.Fatalf("Verdict = %+v; want all of it and well", r.Verdict)
			}
			if v := r.Verdict; v.Acknowledged < tt.acked || v.Read != v.Acknowledged || v.Acknowledged != int64(len(f.events)) {
				t.Errorf("acknowledged %d, read %d, server has %d; want the same, at least %d", v.Acknowledged, v.Read, len(f.events), tt.acked)
			}
			if f.delay > 0 && r.Readable != nil && r.Readable.P50 < 190 {
				t.Errorf("readable after p50 %v ms; the server takes %v", r.Readable.P50, f.delay)
			}
			if o.Bad > 0 && f.refused == 0 {
				t.Error("no bad event was sent")
			}
			if o.Duplicates > 0 && f.taken == len(f.events) {
				t.Error("no event was repeated")
			}
			var answered int64
			for _, n := range r.Requests {
				answered += n
			}
			if answered != o.Requests {
				t.Errorf("%d requests answered; want %d", answered, o.Requests)
			}
		})
	}
}

func TestBrokenPromiseIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		betray func(*fake)
		found  func(*bench.Report) int64
	}{
		{"lost", func(f *fake) { f.lose = 40 }, func(r *bench.Report) int64 { return r.Verdict.Lost }},
		{"doubled", func(f *fake) { f.double = 40 }, func(r *bench.Report) int64 { return r.Verdict.Doubled }},
		{"moved to another session", func(f *fake) { f.move = 40 }, func(r *bench.Report) int64 { return r.Verdict.Altered }},
		{"accepted though bad", func(f *fake) { f.lenient = true }, func(r *bench.Report) int64 { return r.AcceptedBad }},
		{"no answer", func(f *fake) { f.cut = 40 }, func(r *bench.Report) int64 { return r.Broken }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake("operator")
			tt.betray(f)
			o := options(t, f)
			o.Events, o.Bad, o.Probes = 2, 0.1, 0
			r := ingest(t, o)
			if len(r.Faults) == 0 {
				t.Error("no fault was reported")
			}
			if tt.found(r) == 0 {
				t.Errorf("it was not counted: %+v", r)
			}
		})
	}
}

func TestEventsWithoutAnswerMayBeThereOrNot(t *testing.T) {
	t.Parallel()
	f := newFake("operator")
	f.cut = 20
	o := options(t, f)
	o.Probes = 0
	r := ingest(t, o)
	if !r.Verdict.OK() || r.Verdict.Unsure == 0 || r.Verdict.Read != r.Verdict.Acknowledged+r.Verdict.Unsure {
		t.Errorf("Verdict = %+v; want the unsure ones found and not held against the server", r.Verdict)
	}
}

func TestReadbackOfSample(t *testing.T) {
	t.Parallel()
	f := newFake("operator")
	o := options(t, f)
	o.Events, o.Rate, o.ReadbackMax = 5, 2000, 250 // for half a second, which a busy machine may stretch
	r := ingest(t, o)
	if v := r.Verdict; !v.OK() || v.Share > 0.25 || v.Acknowledged == 0 || v.Acknowledged > 700 || v.Read != v.Acknowledged {
		t.Errorf("Verdict = %+v; want a good sample of about 250 events of 1,000", v)
	}

	lossy := newFake("operator")
	lossy.lose = 10
	o = options(t, lossy)
	o.Events, o.Rate, o.ReadbackMax = 5, 2000, 250
	if r := ingest(t, o); r.Verdict.Lost == 0 {
		t.Errorf("Verdict = %+v; want the lost ones of the sample", r.Verdict)
	}
}

func TestChildren(t *testing.T) {
	t.Setenv("EYE_LEAKED", "a setting of another server")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := bench.Defaults()
	o.Program, o.Dir = program, t.TempDir()
	o.Connections, o.Duration, o.Warmup, o.Bare, o.Keep = 2, 1200*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond, true
	o.ReadbackMax = 200 // the fake is slow at reading
	r := ingest(t, o)
	if len(r.Faults) > 0 {
		t.Errorf("Faults = %q; want none", r.Faults)
	}
	if r.Bare == nil || r.Bare.Requests <= 0 || r.Ratio <= 0 {
		t.Errorf("Bare = %+v, Ratio = %v; want a comparison", r.Bare, r.Ratio)
	}
	if r.Disk == nil || r.Disk.Journal != 1000 || r.Disk.Store != 500 {
		t.Errorf("Disk = %+v; want 1000 and 500 bytes", r.Disk)
	}
	if b := r.Backlog; !b.Drained || b.StoredPerSecond == nil || *b.StoredPerSecond <= 0 || b.Most == nil || *b.Most != 0 || b.Blocks == nil || *b.Blocks != 2 {
		t.Errorf("Backlog = %+v; want what the fake's metrics say", b)
	}
	if s := r.Server; runtime.GOOS == "linux" && (s == nil || s.CPUSeconds <= 0 || s.Peak < 1<<20) {
		t.Errorf("Server = %+v; want what the process used", s)
	}
	if filepath.Dir(r.Data) != o.Dir {
		t.Errorf("Data = %q; want a directory in %s", r.Data, o.Dir)
	}

	o.Keep = false
	o.Dir = t.TempDir()
	o.Program = filepath.Join(o.Dir, "nothing")
	if _, err := bench.Ingest(t.Context(), o); err == nil {
		t.Error("Ingest with a program that is not there succeeded")
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := bench.Idle(t.Context(), bench.IdleOptions{
		Program: program, Dir: t.TempDir(), Settle: 10 * time.Millisecond, Duration: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatalf("Idle: %v", err)
	}
	if r.Resident < 1<<20 || r.Peak < r.Resident || r.Seconds < 0.1 {
		t.Errorf("Idle = %+v; want a process of some megabytes", r)
	}
	if err := r.Write(t.Output()); err != nil {
		t.Errorf("Write: %v", err)
	}
}

func TestCancelledRunEnds(t *testing.T) {
	t.Parallel()
	f := newFake("operator")
	o := options(t, f)
	o.Requests, o.Duration = 0, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	o.Say = func(s string) {
		if strings.HasPrefix(s, "loading") {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
	}
	began := time.Now()
	if _, err := bench.Ingest(ctx, o); err == nil {
		t.Error("a cancelled Ingest succeeded")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bench.Options){
		"no connection":         func(o *bench.Options) { o.Connections = 0 },
		"too many events":       func(o *bench.Options) { o.Events = 1001 },
		"too much memory":       func(o *bench.Options) { o.Connections, o.Events = 4000, 1000 },
		"no end":                func(o *bench.Options) { o.Duration = 0 },
		"share above one":       func(o *bench.Options) { o.Bad = 1.1 },
		"shares above one":      func(o *bench.Options) { o.Bad, o.Duplicates = 0.6, 0.6 },
		"negative rate":         func(o *bench.Options) { o.Rate = -1 },
		"another machine":       func(o *bench.Options) { o.URL, o.Key = "http://192.0.2.1:8080", "k" },
		"another machine, name": func(o *bench.Options) { o.URL, o.Key = "http://example.com", "k" },
		"no key":                func(o *bench.Options) { o.URL = "http://127.0.0.1:1" },
		"encrypted":             func(o *bench.Options) { o.URL, o.Key = "https://127.0.0.1:1", "k" },
	} {
		o := bench.Defaults()
		o.Dir = "/nonexistent" // nothing gets that far
		change(&o)
		if _, err := bench.Ingest(t.Context(), o); err == nil || strings.Contains(err.Error(), "nonexistent") {
			t.Errorf("%s: Ingest = %v; want it to refuse the options", name, err)
		}
	}
}
