package main

import (
	"fmt"
	"slices"
	"time"
)

// benchReport is everything that was measured, as --json prints it. Times are in milliseconds, sizes in bytes.
type benchReport struct {
	Machine benchMachine     `json:"machine"`
	Names   int              `json:"namesPerCertificate"`
	Levels  []benchLevelView `json:"levels,omitempty"`
	State   *benchState      `json:"state,omitempty"` // of the gateway, after all levels
	Methods []benchMethod    `json:"methods,omitempty"`
	Growth  *benchGrowth     `json:"growth,omitempty"`
	Profile string           `json:"profile,omitempty"`
	Failed  int              `json:"failed"` // issuances, wherever they failed
	First   string           `json:"firstError,omitempty"`
	Note    string           `json:"note,omitempty"` // what was not measured
}

// benchLevel is a level as measured.
type benchLevel struct {
	clients        int
	gateway, floor *benchRun
	redis          *benchRun // of a gateway on Redis; nil if there is none
}

// benchLevelView is a level as reported. The ratios are zero if either server issued nothing.
type benchLevelView struct {
	Clients   int             `json:"clients"`
	Gateway   benchRunView    `json:"gateway"`
	Floor     benchRunView    `json:"floor"`
	RateRatio float64         `json:"rateRatio"` // gateway's issuances per second divided by the floor's
	CPURatio  float64         `json:"cpuRatio"`  // gateway's CPU time per issuance divided by the floor's
	Redis     *benchRedisView `json:"redis,omitempty"`
}

// benchRedisView is a level of a gateway on Redis.
type benchRedisView struct {
	Gateway   benchRunView `json:"gateway"`
	RedisCPU  float64      `json:"redisCPU"` // of redis-server, per issuance
	RateRatio float64      `json:"rateRatio"`
	CPURatio  float64      `json:"cpuRatio"` // without Redis's own
}

// benchRunView is a run as reported.
type benchRunView struct {
	Issued    int                       `json:"issued"`
	Failed    int                       `json:"failed"`
	Polls     int                       `json:"polls"`
	BadNonces int                       `json:"badNonces"`
	PerSecond float64                   `json:"perSecond"`
	CPU       float64                   `json:"cpu"` // of the server, per issuance
	Latency   benchQuantiles            `json:"latency"`
	Calls     map[string]benchQuantiles `json:"calls,omitempty"`
}

// benchQuantiles are of latencies, by nearest rank.
type benchQuantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// benchSize is how much there is of a gateway's files.
type benchSize struct {
	Store   int64 `json:"store"`   // disk space
	Journal int64 `json:"journal"` // bytes written; space is taken in steps that a short run never leaves
}

// benchState is what a gateway holds after its issuances.
type benchState struct {
	Certificates    int       `json:"certificates"`
	CertificateSize int       `json:"certificateSize"` // DER of one
	Size            benchSize `json:"size"`
	PerCertificate  benchSize `json:"sizePerCertificate"` // beyond the empty gateway's
	HeapBefore      int64     `json:"heapBefore"`         // Go heap after garbage collection
	HeapAfter       int64     `json:"heapAfter"`
	PeakMemory      int64     `json:"peakMemory"` // resident, of the whole process
}

func newBenchState(certificates, certificateSize int, empty, now benchSize, heapBefore, heapAfter, peak int64) *benchState {
	s := &benchState{
		Certificates: certificates, CertificateSize: certificateSize, Size: now, HeapBefore: heapBefore, HeapAfter: heapAfter, PeakMemory: peak,
	}
	if n := int64(certificates); n > 0 {
		s.PerCertificate = benchSize{Store: (now.Store - empty.Store) / n, Journal: (now.Journal - empty.Journal) / n}
	}
	return s
}

// benchGrowth is a gateway from its first issuance on.
type benchGrowth struct {
	Clients   int           `json:"clients"`
	EmptyHeap int64         `json:"emptyHeap"`
	Windows   []benchWindow `json:"windows"`
	Ended     string        `json:"ended,omitempty"` // why before its end
}

// benchWindow is one window of growth.
type benchWindow struct {
	Issued int          `json:"issued"` // up to its end
	Run    benchRunView `json:"run"`
	State  benchState   `json:"state"`
}

// view computes what is reported of a run.
func (r *benchRun) view() benchRunView {
	v := benchRunView{
		Issued: r.issued, Failed: r.failed, Polls: r.polls, BadNonces: r.badNonces,
		Latency: quantiles(r.whole), Calls: map[string]benchQuantiles{},
	}
	if r.elapsed > 0 {
		v.PerSecond = float64(r.issued) / r.elapsed.Seconds()
	}
	if r.issued > 0 {
		v.CPU = milliseconds(r.cpu) / float64(r.issued)
	}
	for call, took := range r.calls {
		if len(took) > 0 {
			v.Calls[benchCall(call).String()] = quantiles(took)
		}
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantiles sorts a copy of took.
func quantiles(took []time.Duration) benchQuantiles {
	if len(took) == 0 {
		return benchQuantiles{}
	}
	sorted := slices.Sorted(slices.Values(took))
	rank := func(percent int) float64 {
		return milliseconds(sorted[(len(sorted)*percent+99)/100-1])
	}
	return benchQuantiles{P50: rank(50), P95: rank(95), P99: rank(99)}
}

func (r *benchReport) addLevel(l *benchLevel) {
	if l == nil {
		return
	}
	r.note(l.gateway)
	r.note(l.floor)
	v := benchLevelView{Clients: l.clients, Gateway: l.gateway.view(), Floor: l.floor.view()}
	v.RateRatio, v.CPURatio = v.Gateway.ratios(v.Floor)
	if l.redis != nil {
		r.note(l.redis)
		v.Redis = &benchRedisView{Gateway: l.redis.view()}
		v.Redis.RateRatio, v.Redis.CPURatio = v.Redis.Gateway.ratios(v.Floor)
		if l.redis.issued > 0 {
			v.Redis.RedisCPU = milliseconds(l.redis.redisCPU) / float64(l.redis.issued)
		}
	}
	r.Levels = append(r.Levels, v)
}

// ratios divides a run's rate and CPU time by the floor's.
func (v benchRunView) ratios(floor benchRunView) (rate, cpu float64) {
	if floor.PerSecond > 0 {
		rate = v.PerSecond / floor.PerSecond
	}
	if floor.CPU > 0 {
		cpu = v.CPU / floor.CPU
	}
	return rate, cpu
}

// note keeps what failed in a run.
func (r *benchReport) note(run *benchRun) {
	r.Failed += run.failed
	if r.First == "" && run.firstError != nil {
		r.First = run.firstError.Error()
	}
}

// failure is an error if any issuance failed: figures of a gateway that refuses are no figures.
func (r *benchReport) failure() error {
	if r.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%d issuances failed; the first: %s", r.Failed, r.First)
}

// empty reports whether nothing was measured.
func (r *benchReport) empty() bool {
	return len(r.Levels) == 0 && len(r.Methods) == 0 && (r.Growth == nil || len(r.Growth.Windows) == 0) && r.Profile == "" && r.Failed == 0
}
