package journal

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the numbers of the journal.
type metrics struct {
	blocks       prometheus.Counter
	records      prometheus.Counter
	rawBytes     prometheus.Counter
	blockBytes   prometheus.Counter
	blockRecords prometheus.Histogram
	commit       prometheus.Histogram
	retries      prometheus.Counter
	refused      map[string]prometheus.Counter // by reason
	readBlocks   prometheus.Counter
	readBytes    prometheus.Counter
	corrupt      prometheus.Counter
	gaps         prometheus.Counter
	trimmed      prometheus.Counter
	first        prometheus.Gauge
	last         prometheus.Gauge
	stored       prometheus.Gauge
}

func newMetrics(j *Journal, r prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "eye_journal_" + name, Help: help})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "eye_journal_" + name, Help: help})
		all = append(all, g)
		return g
	}
	gaugeFunc := func(name, help string, f func() float64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "eye_journal_" + name, Help: help}, f))
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eye_journal_" + name, Help: help, Buckets: buckets})
		all = append(all, h)
		return h
	}
	m := &metrics{
		blocks:       counter("blocks_total", "Blocks committed."),
		records:      counter("records_total", "Records committed."),
		rawBytes:     counter("in_bytes_total", "Bytes of committed blocks before compression."),
		blockBytes:   counter("out_bytes_total", "Bytes of committed blocks as stored."),
		blockRecords: histogram("block_records", "Records in a committed block.", prometheus.ExponentialBuckets(1, 4, 9)),
		commit:       histogram("commit_seconds", "Time to encode, store and sync one block.", prometheus.ExponentialBuckets(0.0001, 2, 16)),
		retries:      counter("retries_total", "Further attempts to store a block after one without acknowledgement."),
		readBlocks:   counter("read_blocks_total", "Blocks read by readers."),
		readBytes:    counter("read_bytes_total", "Bytes of blocks read by readers, as stored."),
		corrupt:      counter("corrupt_blocks_total", "Messages read that were no block or a damaged one."),
		gaps:         counter("missing_blocks_total", "Blocks that readers found missing before newer ones."),
		trimmed:      counter("trimmed_blocks_total", "Blocks removed by trimming."),
		first:        gauge("first_block", "Sequence number of the oldest block, as of the last look."),
		last:         gauge("last_block", "Sequence number of the newest block known."),
		stored:       gauge("stored_bytes", "Bytes in the journal, as of the last look."),
		refused:      make(map[string]prometheus.Counter),
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "eye_journal_refused_total",
		Help: "Batches refused, by reason; with unavailable and canceled the outcome may be unknown.",
	}, []string{"reason"})
	all = append(all, refused)
	for _, reason := range []string{reasonBytes, reasonDisk, reasonQueue, reasonUnavailable, reasonTooLarge, reasonDraining, reasonCanceled} {
		m.refused[reason] = refused.WithLabelValues(reason)
	}
	gaugeFunc("waiting_bytes", "Bytes that wait for a commit, with 1 KiB for each waiting batch.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.queue.bytes)
	})
	if j.disk.dir != "" {
		gaugeFunc("disk_free_bytes", "Free space of the file system that holds the journal.", func() float64 { return float64(j.disk.left()) })
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) committed(e *encoder, size int, sequence uint64, took time.Duration) {
	m.blocks.Inc()
	m.records.Add(float64(e.records))
	m.rawBytes.Add(float64(len(e.raw)))
	m.blockBytes.Add(float64(size))
	m.blockRecords.Observe(float64(e.records))
	m.commit.Observe(took.Seconds())
	m.last.Set(float64(sequence))
}

func (m *metrics) noteState(s State) {
	m.first.Set(float64(s.First))
	m.last.Set(float64(s.Last))
	m.stored.Set(float64(s.Bytes))
}
