package ingest

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/event"
)

type metrics struct {
	accepted prometheus.Counter
	refused  *prometheus.CounterVec
	requests *prometheus.CounterVec
	bytes    prometheus.Counter
	statuses map[int]prometheus.Counter
}

// statuses are the answers whose counters are at hand without a look-up.
var statuses = []int{200, 202, 400, 403, 408, 413, 415, 422, 429, 499, 503}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "eye_ingest_accepted_total", Help: "Events accepted and on disk."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eye_ingest_refused_total", Help: "Events refused to quarantine, by the code of their first violation."}, []string{"code"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eye_ingest_requests_total", Help: "Requests answered, by status."}, []string{"status"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "eye_ingest_body_bytes_total", Help: "Bytes of events accepted or refused, after decompression."}),
		statuses: map[int]prometheus.Counter{},
	}
	for _, s := range statuses {
		m.statuses[s] = m.requests.WithLabelValues(strconv.Itoa(s))
	}
	if r != nil {
		r.MustRegister(m.accepted, m.refused, m.requests, m.bytes)
	}
	return m
}

// inFlight reports the bytes that requests hold.
func (m *metrics) inFlight(r prometheus.Registerer, b *budget) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "eye_ingest_in_flight_bytes", Help: "Bytes held by requests that are being answered."},
		func() float64 { return float64(b.used.Load()) }))
}

// taken counts a request that the journal has.
func (m *metrics) taken(q *request) {
	m.accepted.Add(float64(q.count - len(q.refused)))
	m.bytes.Add(float64(len(q.body)))
	for _, r := range q.refused {
		code := event.InvalidJSON
		if len(r.violations) > 0 {
			code = r.violations[0].Code
		}
		m.refused.WithLabelValues(string(code)).Inc()
	}
}

func (m *metrics) answered(status int) {
	if c := m.statuses[status]; c != nil {
		c.Inc()
		return
	}
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}
