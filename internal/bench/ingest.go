package bench

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ingest runs a load as the options say and reports. The report is there with
// an error too, as far as it came. Report.Faults tells what the server did
// wrong; that is no error.
func Ingest(ctx context.Context, o Options) (r *Report, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	program, err := programOf(o.Program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "eye-bench-")
	if err != nil {
		return nil, err
	}
	r = newReport(o)
	defer func() {
		if o.Keep && o.URL == "" {
			r.Data = dir
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	r.Machine.InMemory = inMemory(dir)
	if sync, err := syncTime(dir); err != nil {
		return r, err
	} else if !r.Machine.InMemory {
		r.Machine.Sync = float64(sync) / float64(time.Millisecond)
	}

	// Machines drift: one half before, one half after.
	var bare [2]Rates
	compare := o.Bare > 0 && o.Rate == 0
	if compare {
		o.say("loading the bare handler for %v", o.Bare/2)
		if bare[0], err = runBare(ctx, o, program, dir); err != nil {
			return r, fmt.Errorf("load the bare handler: %w", err)
		}
	}
	if err := r.loadEye(ctx, o, program, dir); err != nil {
		return r, err
	}
	if compare {
		o.say("loading the bare handler for %v", o.Bare/2)
		if bare[1], err = runBare(ctx, o, program, dir); err != nil {
			return r, fmt.Errorf("load the bare handler: %w", err)
		}
		r.compare(bare)
	}
	return r, nil
}

func newReport(o Options) *Report {
	return &Report{
		At: time.Now().UTC(),
		Machine: Machine{
			CPUs: runtime.NumCPU(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		},
		Load: Setting{
			Connections: o.Connections, Events: o.Events, Seconds: o.Duration.Seconds(),
			Rate: o.Rate, Bad: o.Bad, Duplicates: o.Duplicates,
		},
	}
}

// runBare loads the bare handler for half of the time given to it.
func runBare(ctx context.Context, o Options, program, dir string) (_ Rates, err error) {
	listening := filepath.Join(dir, "bare.json")
	if err := os.Remove(listening); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Rates{}, err
	}
	c, err := start(ctx, listening, filepath.Join(dir, "bare.log"), program, environment(), "bench", "bare", listening)
	if err != nil {
		return Rates{}, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	hostport, err := loopback(c.url)
	if err != nil {
		return Rates{}, err
	}
	o.Duration, o.Warmup, o.Requests, o.Bad, o.Duplicates = o.Bare/2, min(o.Warmup, o.Bare/8), 0, 0, 0
	// A credential as long as a real one: it has to be read as well.
	l := newLoad(o, target{hostport, "eye_" + strings.Repeat("x", 48)}, randomKey())
	if err := l.run(ctx); err != nil {
		return Rates{}, err
	}
	if l.tally.broken.Load() > 0 || l.tally.requests.Load() == 0 {
		return Rates{}, errors.New("it did not answer every request")
	}
	return l.tally.rates(), nil
}

// rates are the speeds counted so far.
func (t *tally) rates() Rates {
	seconds := t.elapsed().Seconds()
	r := Rates{Seconds: seconds, Ack: latencyOf(&t.ack)}
	if seconds > 0 {
		r.Requests, r.Events = float64(t.requests.Load())/seconds, float64(t.events.Load())/seconds
	}
	return r
}

func (r *Report) compare(bare [2]Rates) {
	both := bare[0]
	both.Seconds += bare[1].Seconds
	both.Requests = (both.Requests + bare[1].Requests) / 2
	both.Events = (both.Events + bare[1].Events) / 2
	for _, x := range []struct{ a, b *float64 }{
		{&both.Ack.P50, &bare[1].Ack.P50}, {&both.Ack.P99, &bare[1].Ack.P99},
		{&both.Ack.P999, &bare[1].Ack.P999}, {&both.Ack.Max, &bare[1].Ack.Max},
	} {
		*x.a = max(*x.a, *x.b)
	}
	r.Bare = &both
	r.Ratio = r.Eye.Requests / both.Requests
}

// loadEye measures a server of our own, or the one named.
func (r *Report) loadEye(ctx context.Context, o Options, program, dir string) (err error) {
	url, key, pid := strings.TrimSuffix(o.URL, "/"), o.Key, 0
	var server *child
	if url == "" {
		if server, key, err = serve(ctx, program, dir); err != nil {
			return err
		}
		url, pid = server.url, server.pid
		defer func() { err = errors.Join(err, server.stop()) }()
	}
	hostport, err := loopback(url)
	if err != nil {
		return err
	}
	seed := randomKey()
	app := "bench-" + strconv.FormatUint(seed, 36)
	operator := newRemote(url, key)
	defer operator.http.CloseIdleConnections()
	secret, err := operator.application(ctx, app)
	if err != nil {
		return err
	}

	l := newLoad(o, target{hostport, secret}, seed)
	p := newProber(l, app, operator.as(secret))
	s := &sampler{remote: operator, pid: pid}
	if err := r.load(ctx, o, l, p, s); err != nil {
		return err
	}
	var journal int64
	if server != nil {
		if journal, err = sizeOf(filepath.Join(dir, "journal")); err != nil {
			return err
		}
	}
	if o.Readback && r.Backlog.Drained { // else it is known already that not all is there
		o.say("reading back as application %s", app)
		back := &reader{app: app, remote: p.remote, ids: l.ids, books: l.books}
		v, err := back.check(ctx, o.ReadbackMax)
		r.Verdict = &v
		if err != nil {
			return err
		}
		if !v.OK() {
			r.fault("what was acknowledged is not what can be read")
		}
	}
	if server != nil {
		return r.sizes(server, l, dir, journal)
	}
	return nil
}

// load runs the generator with the prober and the sampler beside it.
func (r *Report) load(ctx context.Context, o Options, l *load, p *prober, s *sampler) error {
	o.say("loading The Eye for %v", o.Duration)
	loading, loaded := context.WithCancel(ctx)
	defer loaded()
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	began, own := time.Now(), ownCPU()
	s.start = began
	wg.Go(func() { s.run(sampling, 500*time.Millisecond) })
	wg.Go(func() { p.run(loading, o.Probes) })
	err := l.run(ctx)
	own = ownCPU() - own
	loaded()
	if err == nil {
		s.take(ctx)
		r.watch(l, s, own)
		r.drain(ctx, o, l, p, began)
	}
	stop()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("load The Eye: %w", err)
	}
	r.Samples = s.between(began, time.Now())
	if n := p.readable.Count(); n+p.failed.Load() > 0 {
		r.Readable = &Readable{latencyOf(&p.readable), n, p.missed.Load(), p.failed.Load()}
	}
	r.count(o, l)
	return nil
}

// count reports how the requests were answered.
func (r *Report) count(o Options, l *load) {
	t := &l.tally
	r.Requests = map[string]int64{}
	for status := range t.status {
		if n := t.status[status].Load(); n > 0 {
			r.Requests[strconv.Itoa(status)] = n
		}
	}
	r.Broken, r.NoConnection, r.Unsent = t.broken.Load(), t.noConnection.Load(), l.unsent.Load()
	r.RefusedGood, r.AcceptedBad = t.refusedGood.Load(), t.acceptedBad.Load()
	if r.RefusedGood > 0 {
		r.fault("%d events were refused though nothing is wrong with them", r.RefusedGood)
	}
	if r.AcceptedBad > 0 {
		r.fault("%d events were accepted though they break a rule", r.AcceptedBad)
	}
	if t.accepted.Load() == 0 && o.Bad < 1 {
		r.fault("nothing was accepted")
	}
	if r.Broken+r.NoConnection > 0 {
		r.fault("%d requests got no answer, %d connections failed", r.Broken, r.NoConnection)
	}
}

// watch reports what was measured while the load ran.
func (r *Report) watch(l *load, s *sampler, own time.Duration) {
	r.Eye = l.tally.rates()
	seen := s.between(time.Unix(0, l.tally.from.Load()), time.Now())
	if len(seen) < 2 {
		return
	}
	first, last := seen[0], seen[len(seen)-1]
	took := last.At - first.At
	if first.Stored >= 0 && last.Stored >= 0 && took > 0 {
		perSecond := (last.Stored - first.Stored) / took
		r.Backlog.StoredPerSecond = &perSecond
	}
	for _, x := range seen {
		atLeast(&r.Backlog.Most, x.Backlog)
		atLeast(&r.Backlog.Blocks, x.Blocks)
	}
	if perSecond, ok := slope(seen, func(x sample) float64 { return x.Backlog }); ok {
		r.Backlog.Slope = &perSecond
	}
	if first.CPU < 0 || last.CPU < 0 || took <= 0 {
		return
	}
	p, err := processOf(s.pid)
	if err != nil {
		return
	}
	r.Server = &Server{CPUSeconds: last.CPU - first.CPU, Resident: last.RSS, Peak: p.peak, GeneratorCPU: own.Seconds()}
	r.Server.Cores = r.Server.CPUSeconds / took
	if n := r.Eye.Events * took; n > 0 {
		r.Server.MicrosPerEvent = r.Server.CPUSeconds / n * 1e6
	}
	if answered := l.tally.answers.Load(); answered > 0 {
		r.Server.GeneratorMicros = float64(own.Microseconds()) / float64(answered)
	}
}

// atLeast raises the number to v, if v is known.
func atLeast(to **float64, v float64) {
	if v >= 0 && (*to == nil || **to < v) {
		*to = &v
	}
}

// drain waits until all that was acknowledged is readable.
func (r *Report) drain(ctx context.Context, o Options, l *load, p *prober, began time.Time) {
	o.say("waiting until all of it is readable")
	err := drained(ctx, p, o.Drain)
	now := time.Now()
	r.Backlog.DrainSeconds = now.Sub(time.Unix(0, l.tally.last.Load())).Seconds()
	if err != nil {
		r.fault("%v", err)
		return
	}
	r.Backlog.Drained = true
	r.Backlog.Overall = float64(l.tally.accepted.Load()) / now.Sub(began).Seconds()
}

// sizes ends the server and measures what it leaves on disk: only then has the
// store put everything into its place.
func (r *Report) sizes(server *child, l *load, dir string, journal int64) error {
	if err := server.stop(); err != nil {
		return err
	}
	if server.err != nil {
		r.fault("the server ended with %v and said: %s", server.err, server.lastWords())
	}
	store, err := sizeOf(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	var stored int64
	for i := range l.books {
		stored += l.books[i].acked.size()
	}
	r.Disk = &Disk{Journal: journal, Store: store}
	if n := l.tally.accepted.Load() + l.tally.refusedBad.Load(); n > 0 {
		r.Disk.JournalPerEvent = float64(journal) / float64(n)
	}
	if stored > 0 {
		r.Disk.StorePerEvent = float64(store) / float64(stored)
	}
	return nil
}

func (r *Report) fault(format string, a ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, a...))
}

// randomKey seeds a run, so that no two have the same ids.
func randomKey() uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
