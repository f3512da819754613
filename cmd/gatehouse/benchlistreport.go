package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The budgets of lists at 1,000,000 enrollments, in milliseconds at the 99th percentile.
const (
	pageBudget          = 20
	totalBudgetEmbedded = 30
	totalBudgetRedis    = 5
)

// benchListReport is what was measured of lists. Times are in milliseconds.
type benchListReport struct {
	Store       string      `json:"store"` // "embedded" or "redis"
	Enrollments int64       `json:"enrollments"`
	PageSize    int         `json:"pageSize"`
	Samples     int         `json:"samples"` // pages for each figure
	Lists       []benchList `json:"lists"`
}

// benchList is one list: its first page, pages anywhere in it, and a page of one for its total.
type benchList struct {
	By      string          `json:"by"`
	Members int64           `json:"members"`
	First   benchQuantiles  `json:"first"`
	Offset  benchQuantiles  `json:"offset"`          // by offset, anywhere
	After   *benchQuantiles `json:"after,omitempty"` // behind an enrollment, anywhere; only lists without a filter have it
	Count   benchQuantiles  `json:"total"`
}

// page is the worst of its pages' 99th percentiles.
func (l *benchList) page() float64 {
	worst := max(l.First.P99, l.Offset.P99)
	if l.After != nil {
		worst = max(worst, l.After.P99)
	}
	return worst
}

// totalBudget is the budget of totals on the report's engine.
func (r *benchListReport) totalBudget() float64 {
	if r.Store == "redis" {
		return totalBudgetRedis
	}
	return totalBudgetEmbedded
}

func (r *benchListReport) write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Lists of %d enrollments (%s), pages of %d, newest first; ms over %d pages each, records included.\n\n",
		r.Enrollments, r.Store, r.PageSize, r.Samples)
	t := newTable("list by:", "members", "first p50", "p99", "offset p50", "p99", "after p50", "p99", "total p50", "p99")
	for _, l := range r.Lists {
		cells := []string{l.By, strconv.FormatInt(l.Members, 10)}
		for _, q := range []*benchQuantiles{&l.First, &l.Offset, l.After, &l.Count} {
			if q == nil {
				cells = append(cells, "", "")
				continue
			}
			cells = append(cells, decimals(q.P50, 2), decimals(q.P99, 2))
		}
		t.add(cells...)
	}
	t.write(&b)
	page, total := worst(r.Lists, (*benchList).page), worst(r.Lists, func(l *benchList) float64 { return l.Count.P99 })
	fmt.Fprintf(&b, "\n- page, p99: %s ms (%s); the budget is %d ms: %s\n- total, p99: %s ms (%s); the budget is %.0f ms: %s\n",
		decimals(page.value, 2), page.by, pageBudget, verdict(page.value <= pageBudget),
		decimals(total.value, 2), total.by, r.totalBudget(), verdict(total.value <= r.totalBudget()))
	_, err := io.WriteString(out, b.String())
	return err
}

type worstList struct {
	by    string
	value float64
}

// worst is the list with the greatest figure.
func worst(lists []benchList, figure func(*benchList) float64) (w worstList) {
	for i := range lists {
		if v := figure(&lists[i]); v >= w.value {
			w = worstList{lists[i].By, v}
		}
	}
	return w
}
