package duckdb

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the store. Without a Registerer they count for nobody.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	appendSeconds     prometheus.Histogram
	sealSeconds       prometheus.Histogram
	checkpointSeconds prometheus.Histogram
	mergeSeconds      prometheus.Histogram
	rows              *prometheus.CounterVec
	verifications     prometheus.Counter
}

func newMetrics(s *Store, registerer prometheus.Registerer) *metrics {
	m := &metrics{registerer: registerer}
	seconds := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "eye", Subsystem: "store", Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		})
		m.all = append(m.all, h)
		return h
	}
	gauge := func(name, help string, value func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "eye", Subsystem: "store", Name: name, Help: help,
		}, value))
	}
	m.appendSeconds = seconds("append_seconds", "Time to commit one batch.")
	m.sealSeconds = seconds("seal_seconds", "Time to turn the tail into a segment.")
	m.checkpointSeconds = seconds("checkpoint_seconds", "Time of one checkpoint.")
	m.mergeSeconds = seconds("merge_seconds", "Time to merge filters into a larger one.")
	m.rows = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "eye", Subsystem: "store", Name: "rows_total",
		Help: "Rows committed, by kind: event, duplicate, refusal.",
	}, []string{"kind"})
	m.verifications = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "eye", Subsystem: "store", Name: "verifications_total",
		Help: "Keys that a filter took for known and that were looked up in a segment.",
	})
	m.all = append(m.all, m.rows, m.verifications)
	gauge("size_bytes", "Bytes on disk, write-ahead log included.", func() float64 { return float64(s.bytes()) })
	gauge("events", "Events in the store.", func() float64 { return float64(s.count.events.Load()) })
	gauge("segments", "Sealed segments.", func() float64 { return float64(len(s.index.Load().segments)) })
	gauge("filters", "Filters that a new key is held against.", func() float64 { return float64(len(s.index.Load().filters)) })
	gauge("filter_bytes", "Memory of all filters.", func() float64 { return float64(s.index.Load().bytes()) })
	if registerer != nil {
		for _, c := range m.all {
			registerer.MustRegister(c)
		}
	}
	return m
}

// unregister makes room for the metrics of the next Open.
func (m *metrics) unregister() {
	if m == nil || m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

// bytes on disk.
func (s *Store) bytes() int64 {
	var total int64
	for _, suffix := range []string{"", ".wal"} {
		if info, err := os.Stat(s.options.Path + suffix); err == nil {
			total += info.Size()
		}
	}
	return total
}
