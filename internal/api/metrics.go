package api

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/access"
)

// metrics are the API's numbers.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	refused  *prometheus.CounterVec
}

// newMetrics registers the numbers with reg, unless it is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eye_http_requests_total",
			Help: "HTTP requests answered, by route, method and status. 499: the caller had gone.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "eye_http_request_seconds",
			Help:    "Time to answer an HTTP request, streams left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "eye_http_requests_in_flight",
			Help: "HTTP requests being answered, by route.",
		}, []string{"route", "method"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eye_http_unauthenticated_total",
			Help: "HTTP requests answered 401, by what was wrong with the credential.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.inFlight, m.refused)
	}
	return m
}

func (m *metrics) unauthenticated(err error) {
	reason := "other"
	if e, ok := errors.AsType[*access.Error](err); ok {
		reason = e.Reason()
	}
	m.refused.WithLabelValues(reason).Inc()
}

// routeMetrics are the numbers of one route, looked up once.
type routeMetrics struct {
	pattern  string
	stream   bool
	inFlight prometheus.Gauge
	seconds  prometheus.Observer
	status   func(status int) prometheus.Counter
	// Looking a counter up costs more than counting; the few statuses that a
	// route gives are kept.
	counters [600]atomic.Pointer[prometheus.Counter]
}

func (m *metrics) route(method, pattern string, stream bool) *routeMetrics {
	return &routeMetrics{
		pattern:  pattern,
		stream:   stream,
		inFlight: m.inFlight.WithLabelValues(pattern, method),
		seconds:  m.seconds.WithLabelValues(pattern, method),
		status: func(status int) prometheus.Counter {
			return m.requests.WithLabelValues(pattern, method, strconv.Itoa(status))
		},
	}
}

func (m *routeMetrics) begin() { m.inFlight.Inc() }

func (m *routeMetrics) end(status int, took time.Duration) {
	m.inFlight.Dec()
	if !m.stream {
		m.seconds.Observe(took.Seconds())
	}
	if status < 0 || status >= len(m.counters) {
		m.status(status).Inc()
		return
	}
	counter := m.counters[status].Load()
	if counter == nil {
		c := m.status(status)
		counter = &c
		m.counters[status].Store(counter)
	}
	(*counter).Inc()
}
