package web

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// other is the label of what has no name of ours.
const other = "other"

// maxEndpoints bounds the endpoints counted by name, whatever a handler mistakes for one.
const maxEndpoints = 300

// Metrics counts requests. One may serve many Servers. Labels come from the program alone: route patterns, known methods,
// status classes and problem kinds. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec   // endpoint, method, code ("2xx"; "aborted" without a status), problem ("" if none)
	duration *prometheus.HistogramVec // endpoint
	inFlight prometheus.Gauge
	closed   prometheus.Counter

	mu        sync.RWMutex
	endpoints map[string]bool
}

// NewRegistry makes a registry with the Go runtime's and the process's metrics.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// NewMetrics registers the request metrics; it fails if they are registered already.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_http_requests_total",
			Help: "Requests by endpoint, method, class of status and kind of problem.",
		}, []string{"endpoint", "method", "code", "problem"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_http_request_duration_seconds",
			Help:    "Time from the header's arrival to the end of the handler.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"endpoint"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_http_requests_in_flight",
			Help: "Requests being handled.",
		}),
		closed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_http_connections_given_up_total",
			Help: "Connections closed because all places were taken and their peer had most.",
		}),
		endpoints: map[string]bool{other: true},
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight, m.closed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("web: request metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) begin() {
	if m != nil {
		m.inFlight.Inc()
	}
}

// evicted counts a connection that was closed to make room.
func (m *Metrics) evicted() {
	if m != nil {
		m.closed.Inc()
	}
}

func (m *Metrics) end(o outcome, problem string) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	m.requests.WithLabelValues(o.endpoint, o.method, class(o.status), problem).Inc()
	m.duration.WithLabelValues(o.endpoint).Observe(float64(o.took) / float64(time.Second))
}

// endpoint gives the label for a name: the name itself while there is room.
func (m *Metrics) endpoint(name string) string {
	if m == nil {
		return name
	}
	m.mu.RLock()
	known := m.endpoints[name]
	m.mu.RUnlock()
	if known {
		return name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.endpoints[name] && len(m.endpoints) >= maxEndpoints {
		return other
	}
	m.endpoints[name] = true
	return name
}

func class(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "aborted"
}
