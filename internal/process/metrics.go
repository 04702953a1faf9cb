package process

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/store"
)

type metrics struct {
	records  *prometheus.CounterVec
	seconds  prometheus.Histogram
	failures prometheus.Counter
	lost     prometheus.Counter

	events, duplicates, refusals prometheus.Counter
}

func newMetrics(r prometheus.Registerer, p *Processor) *metrics {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eye_process_records_total", Help: "Records processed, by disposition."}, []string{"disposition"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "eye_process_batch_seconds", Help: "Time to settle and store one batch.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "eye_process_failures_total", Help: "Attempts that failed; each is made again."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "eye_process_lost_blocks_total", Help: "Acknowledged blocks that damage to the journal's files made unreadable. Alarm above zero."}),
	}
	m.events = m.records.WithLabelValues("stored")
	m.duplicates = m.records.WithLabelValues("duplicate")
	m.refusals = m.records.WithLabelValues("quarantined")
	if r != nil {
		r.MustRegister(m.records, m.seconds, m.failures, m.lost,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "eye_process_committed_block", Help: "Last journal block whose records are all stored."},
				func() float64 { return float64(p.Committed()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "eye_process_healthy", Help: "1 while processing works, 0 while it stands still."},
				func() float64 {
					if p.Health() != nil {
						return 0
					}
					return 1
				}))
	}
	return m
}

func (m *metrics) stored(b *store.Batch, took time.Duration) {
	m.events.Add(float64(len(b.Events)))
	m.duplicates.Add(float64(len(b.Duplicates)))
	m.refusals.Add(float64(len(b.Refusals)))
	m.seconds.Observe(took.Seconds())
}
