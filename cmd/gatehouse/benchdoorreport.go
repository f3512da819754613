package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// benchDoorReport is what was measured of lists over HTTP, and of starts. Times are in milliseconds.
type benchDoorReport struct {
	Store       string          `json:"store"` // "embedded" or "redis"
	Enrollments int64           `json:"enrollments"`
	PageSize    int             `json:"pageSize"`
	Samples     int             `json:"samples"` // requests for each figure
	Starts      []float64       `json:"starts"`  // until the gateway answers, of one start after the other
	Lists       []benchDoorList `json:"lists"`
}

// benchDoorList is one list: pages of it, and its total by HEAD.
type benchDoorList struct {
	By string `json:"by"`
	// Several says that no index answers alone. The budgets are not about such lists.
	Several bool           `json:"several,omitempty"`
	Total   int64          `json:"total"` // of the first request
	First   benchQuantiles `json:"first"`
	Middle  benchQuantiles `json:"middle"`
	Last    benchQuantiles `json:"last"`
	Beyond  benchQuantiles `json:"beyond"` // a page that begins far behind the end
	Count   benchQuantiles `json:"count"`
}

// page is the worst of its pages' 99th percentiles.
func (l *benchDoorList) page() float64 {
	return max(l.First.P99, l.Middle.P99, l.Last.P99, l.Beyond.P99)
}

func (r *benchDoorReport) write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Lists of %d enrollments (%s) over HTTP from a gateway, pages of %d; ms over %d requests each, as the client sees them.\n\n",
		r.Enrollments, r.Store, r.PageSize, r.Samples)
	t := newTable("list by:", "total", "first p50", "p99", "middle p50", "p99", "last p50", "p99", "beyond p50", "p99", "HEAD p50", "p99")
	var page, total worstList
	for _, l := range r.Lists {
		cells := []string{l.By, strconv.FormatInt(l.Total, 10)}
		for _, q := range []benchQuantiles{l.First, l.Middle, l.Last, l.Beyond, l.Count} {
			cells = append(cells, decimals(q.P50, 2), decimals(q.P99, 2))
		}
		t.add(cells...)
		if l.Several {
			continue
		}
		if v := l.page(); v >= page.value {
			page = worstList{l.By, v}
		}
		if l.Count.P99 >= total.value {
			total = worstList{l.By, l.Count.P99}
		}
	}
	t.write(&b)
	budget := (&benchListReport{Store: r.Store}).totalBudget()
	fmt.Fprintf(&b, "\n- page by one index, p99: %s ms (%s); the budget is %d ms: %s\n- its total, p99: %s ms (%s); the budget is %.0f ms: %s\n",
		decimals(page.value, 2), page.by, pageBudget, verdict(page.value <= pageBudget),
		decimals(total.value, 2), total.by, budget, verdict(total.value <= budget))
	for n, ms := range r.Starts {
		fmt.Fprintf(&b, "- start %d, until the gateway answers: %s ms\n", n+1, decimals(ms, 0))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
