package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// benchFloodCmd lets strangers flood a gateway from one address, in every way that costs them little, while a few clients
// go on being issued certificates, each over new connections. It shows what that does to the clients.
type benchFloodCmd struct {
	Duration    time.Duration `help:"Of each flood, and of the quiet before and after." default:"15s"`
	Clients     int           `help:"Healthy clients, 1 to 64; each wants five certificates a second." default:"4"`
	Connections int           `help:"Slow connections at once, 1 to 10,000: each sends an octet of a header in a second." default:"5000"`
	Rate        int           `help:"Requests a second of the floods that send requests, 1 to 5,000. Orders come at a tenth of it." default:"300"`
	Dir         string        `help:"Make the folder of store, journal and log here." type:"path" placeholder:"DIR"`
	JSON        bool          `help:"Print JSON."`
}

func (c *benchFloodCmd) check() error {
	switch {
	case c.Duration < time.Second || c.Duration > 10*time.Minute:
		return errors.New("--duration goes from 1s to 10m")
	case c.Clients < 1 || c.Clients > 64:
		return errors.New("--clients goes from 1 to 64")
	case c.Connections < 1 || c.Connections > 10_000:
		return errors.New("--connections goes from 1 to 10000")
	case c.Rate < 1 || c.Rate > 5000:
		return errors.New("--rate goes from 1 to 5000")
	}
	return nil
}

// benchFloodReport is what came of it.
type benchFloodReport struct {
	Machine benchMachine      `json:"machine"`
	Phases  []benchFloodPhase `json:"phases"`
}

// benchFloodPhase is one flood, or the quiet around them.
type benchFloodPhase struct {
	Flood   string         `json:"flood"`
	Sent    int64          `json:"sent"`    // connections or requests of the flood
	Refused int64          `json:"refused"` // of the requests, by a status of 400 and above
	Issued  int            `json:"issued"`  // to the healthy clients
	Failed  int            `json:"failed"`
	Latency benchQuantiles `json:"latency"` // of a healthy client's whole issuance
	Ratio   float64        `json:"ratio"`   // of its median to that of the quiet before
	Heap    int64          `json:"heap"`    // of the gateway after the phase and a collection, in bytes
	Error   string         `json:"error,omitempty"`
}

func (c *benchFloodCmd) Run(ctx context.Context, s streams) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	b, err := newBench(&benchIssueCmd{Names: 1, LogLevel: "info", Dir: c.Dir}, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	report, err := c.measure(ctx, b)
	if report == nil {
		return err
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, report), err)
	}
	return errors.Join(report.write(s.out), err)
}

func (c *benchFloodCmd) measure(ctx context.Context, b *bench) (_ *benchFloodReport, err error) {
	machine, err := describeMachine(b.folder)
	if err != nil {
		return nil, err
	}
	server, err := b.gateway(ctx, "flood", "")
	defer func() { err = errors.Join(err, server.stop()) }()
	if err != nil {
		return nil, err
	}
	if err := server.register(ctx, c.Clients, b.answers); err != nil {
		return nil, err
	}
	f, err := newFlooder(ctx, server.directory, b.answers, c.Connections, c.Rate)
	if err != nil {
		return nil, err
	}
	report := &benchFloodReport{Machine: machine}
	if _, err := c.phase(ctx, b, server, nil); err != nil { // unreported: first connections, the heap's first growth
		return nil, err
	}
	for _, flood := range append([]*flood{nil}, append(f.floods(), nil)...) {
		phase, err := c.phase(ctx, b, server, flood)
		if err != nil {
			return report, err
		}
		report.Phases = append(report.Phases, *phase)
		if first := report.Phases[0].Latency.P50; first > 0 {
			report.Phases[len(report.Phases)-1].Ratio = phase.Latency.P50 / first
		}
	}
	return report, nil
}

// phase lets the healthy clients work for a while, with a flood or none.
func (c *benchFloodCmd) phase(ctx context.Context, b *bench, server *benchServer, f *flood) (*benchFloodPhase, error) {
	phase := &benchFloodPhase{Flood: "none"}
	flooding, end := context.WithTimeout(ctx, c.Duration)
	defer end()
	var attack sync.WaitGroup
	if f != nil {
		phase.Flood = f.name
		attack.Go(func() { f.run(flooding) })
		f.begun(flooding)
	}
	run := &benchRun{}
	stop := b.progress.track("flood: "+phase.Flood, 0, &b.orders.made)
	stats := make([]benchStats, len(server.clients))
	var healthy sync.WaitGroup
	for i, client := range server.clients {
		healthy.Go(func() {
			client.stats = &stats[i]
			goOn(flooding, client, b.orders)
		})
	}
	healthy.Wait()
	attack.Wait()
	stop()
	for i := range stats {
		run.join(&stats[i])
	}
	server.checker.check(run)
	if f != nil {
		phase.Sent, phase.Refused = f.sent.Load(), f.refused.Load()
	}
	phase.Issued, phase.Failed, phase.Latency = run.issued, run.failed, quantiles(run.whole)
	if run.firstError != nil {
		phase.Error = run.firstError.Error()
	}
	if err := errors.Join(ctx.Err(), server.process.alive()); err != nil {
		return nil, err
	}
	var err error
	phase.Heap, err = server.heap(ctx)
	return phase, err
}

// healthyEvery is how often a healthy client wants a certificate.
const healthyEvery = 200 * time.Millisecond

// goOn has one healthy client issued certificates until ctx ends. An issuance that has begun is finished.
func goOn(ctx context.Context, c *benchClient, orders *benchOrders) {
	ticker := time.NewTicker(healthyEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		o := orders.one()
		if o == nil {
			return
		}
		c.http.CloseIdleConnections() // the next one must be accepted, flood or not
		begun := time.Now()
		chain, err := c.issue(context.WithoutCancel(ctx), o)
		if err == nil {
			c.stats.issued++
			c.stats.whole = append(c.stats.whole, time.Since(begun))
			c.stats.certificates = append(c.stats.certificates, benchCertificate{o, chain})
		} else {
			c.stats.fail(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (r *benchFloodReport) write(out io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%d CPUs (%s), %s, %s\n\n", r.Machine.CPUs, r.Machine.CPU, r.Machine.Kernel, r.Machine.Version)
	t := newTable("flood", "sent", "refused", "issued", "failed", "p50 ms", "p99 ms", "median, of quiet", "heap MiB")
	var errs []string
	for _, p := range r.Phases {
		t.add(p.Flood, fmt.Sprint(p.Sent), fmt.Sprint(p.Refused), fmt.Sprint(p.Issued), fmt.Sprint(p.Failed), fmt.Sprintf("%.1f", p.Latency.P50),
			fmt.Sprintf("%.1f", p.Latency.P99), fmt.Sprintf("%.2f x", p.Ratio), fmt.Sprintf("%.1f", float64(p.Heap)/(1<<20)))
		if p.Error != "" {
			errs = append(errs, p.Flood+": "+p.Error)
		}
	}
	t.write(b)
	for _, e := range errs {
		fmt.Fprintln(b, "first failure under", e)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
