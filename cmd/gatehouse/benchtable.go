package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// writeBenchReport prints a report for people, as Markdown whose tables are aligned, at most 100 columns wide.
func writeBenchReport(out io.Writer, r *benchReport) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%d cores, %s; %s, %s, %s; gatehouse %s\n", m.CPUs, m.CPU, m.Kernel, m.FileSystem, m.Go, m.Version)
	fmt.Fprintf(&b, "clients, gateway and floor share the cores; %d names per certificate, P-256, http-01, plain HTTP\n", r.Names)
	if r.Note != "" {
		fmt.Fprintf(&b, "%s\n", r.Note)
	}
	if len(r.Levels) > 0 {
		writeLevels(&b, r.Levels)
		writeBudgets(&b, r.Levels)
		writeCalls(&b, r.Levels)
	}
	if r.State != nil {
		writeState(&b, r.State)
	}
	if len(r.Methods) > 0 {
		writeMethods(&b, r.Methods)
	}
	if r.Growth != nil && len(r.Growth.Windows) > 0 {
		writeGrowth(&b, r.Growth)
	}
	if r.Profile != "" {
		fmt.Fprintf(&b, "\nCPU profile of the gateway: go tool pprof -top %s\n", r.Profile)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func writeLevels(b *strings.Builder, levels []benchLevelView) {
	b.WriteString("\nWhole issuances. CPU is the server's per issuance; the last columns are gateway divided by floor.\n\n")
	t := newTable("clients", "server:", "issued", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "x rate", "x CPU")
	for _, l := range levels {
		row := func(server string, run benchRunView, ratios ...string) {
			t.add(slices.Concat([]string{strconv.Itoa(l.Clients), server, strconv.Itoa(run.Issued), decimals(run.PerSecond, 0)},
				run.Latency.cells(), []string{decimals(run.CPU, 2)}, ratios)...)
		}
		row("gateway", l.Gateway, decimals(l.RateRatio, 2), decimals(l.CPURatio, 2))
		if r := l.Redis; r != nil {
			row("redis", r.Gateway, decimals(r.RateRatio, 2), decimals(r.CPURatio, 2))
		}
		row("floor", l.Floor, "", "")
	}
	t.write(b)
	var odd strings.Builder
	for _, l := range levels {
		odd.WriteString(oddities(l.Clients, "gateway", l.Gateway))
		if l.Redis != nil {
			odd.WriteString(oddities(l.Clients, "redis", l.Redis.Gateway))
		}
		odd.WriteString(oddities(l.Clients, "floor", l.Floor))
	}
	if odd.Len() > 0 {
		b.WriteString("\n" + odd.String())
	}
}

// oddities is a line about a run, or nothing if there is nothing odd about it.
func oddities(clients int, server string, run benchRunView) string {
	if run.Failed == 0 && run.Polls == 0 && run.BadNonces == 0 {
		return ""
	}
	return fmt.Sprintf("- %d clients, %s: %d issuances failed; %d polls of what was under way; %d nonces refused and replaced\n",
		clients, server, run.Failed, run.Polls, run.BadNonces)
}

func writeCalls(b *strings.Builder, levels []benchLevelView) {
	b.WriteString("\nRequests, in ms from the request to the whole answer.\n\n")
	writeCallsBeside(b, levels, "floor", func(l *benchLevelView) benchRunView { return l.Floor })
	if levels[0].Redis != nil {
		b.WriteString("\n")
		writeCallsBeside(b, levels, "redis", func(l *benchLevelView) benchRunView {
			if l.Redis == nil {
				return benchRunView{}
			}
			return l.Redis.Gateway
		})
	}
}

// writeCallsBeside puts the gateway's requests beside those of another server.
func writeCallsBeside(b *strings.Builder, levels []benchLevelView, name string, of func(*benchLevelView) benchRunView) {
	t := newTable("clients", "request:", "gateway p50", "p95", "p99", name+" p50", "p95", "p99")
	for _, l := range levels {
		for call := range callNewAccount { // what follows is not measured
			gateway, other := l.Gateway.Calls[call.String()], of(&l).Calls[call.String()]
			if gateway != (benchQuantiles{}) || other != (benchQuantiles{}) {
				t.add(slices.Concat([]string{strconv.Itoa(l.Clients), call.String()}, gateway.cells(), other.cells())...)
			}
		}
	}
	t.write(b)
}

// cells are empty where there was no such request.
func (q benchQuantiles) cells() []string {
	if q == (benchQuantiles{}) {
		return []string{"", "", ""}
	}
	return []string{decimals(q.P50, 2), decimals(q.P95, 2), decimals(q.P99, 2)}
}

func writeState(b *strings.Builder, s *benchState) {
	fmt.Fprintf(b, `
After %d certificates of %d bytes (DER):
- per certificate: %d bytes of disk in the store, %d bytes written to the journal (in all %s and %s)
- Go heap after collection: %s before, %s after; peak resident memory %s
`, s.Certificates, s.CertificateSize, s.PerCertificate.Store, s.PerCertificate.Journal, mebibytes(s.Size.Store), mebibytes(s.Size.Journal),
		mebibytes(s.HeapBefore), mebibytes(s.HeapAfter), mebibytes(s.PeakMemory))
}

func writeGrowth(b *strings.Builder, g *benchGrowth) {
	fmt.Fprintf(b, "\nGrowth of a fresh gateway, %d clients, Go heap of %s when empty. Store and journal in bytes per certificate.\n\n",
		g.Clients, mebibytes(g.EmptyHeap))
	t := newTable("issued", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "heap MiB", "store", "journal")
	for _, w := range g.Windows {
		t.add(slices.Concat([]string{strconv.Itoa(w.Issued), decimals(w.Run.PerSecond, 0)}, w.Run.Latency.cells(), []string{
			decimals(w.Run.CPU, 2), decimals(float64(w.State.HeapAfter)/(1<<20), 1),
			strconv.FormatInt(w.State.PerCertificate.Store, 10), strconv.FormatInt(w.State.PerCertificate.Journal, 10),
		})...)
	}
	t.write(b)
	if g.Ended != "" {
		fmt.Fprintf(b, "\n%s\n", g.Ended)
	}
}

func decimals(v float64, n int) string { return strconv.FormatFloat(v, 'f', n, 64) }

func mebibytes(n int64) string { return decimals(float64(n)/(1<<20), 1) + " MiB" }

// table is a Markdown table that is aligned as text too.
type table struct {
	header []string
	left   []bool
	rows   [][]string
}

// newTable takes the header's cells. Columns are aligned to the right, those whose cell ends with a colon to the left.
func newTable(header ...string) *table {
	t := &table{}
	for _, cell := range header {
		name, left := strings.CutSuffix(cell, ":")
		t.header, t.left = append(t.header, name), append(t.left, left)
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(b *strings.Builder) {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell), 2)
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			width := widths[i]
			if t.left[i] {
				width = -width
			}
			fmt.Fprintf(b, "| %*s ", width, cell)
		}
		b.WriteString("|\n")
	}
	line(t.header)
	rule := make([]string, len(t.header))
	for i := range rule {
		rule[i] = strings.Repeat("-", widths[i])
		if !t.left[i] {
			rule[i] = rule[i][1:] + ":"
		}
	}
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
}
