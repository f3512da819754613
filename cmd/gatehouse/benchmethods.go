package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// benchMethod is whole issuances whose names are proven by one method, beside the others'.
type benchMethod struct {
	Method  dcv.Method   `json:"method"`
	Clients int          `json:"clients"`
	Run     benchRunView `json:"run"`
}

// measureMethods measures one gateway, which offers all methods, by each of them. The methods take turns, half of the
// orders in one sequence and half in the reverse one.
func (b *bench) measureMethods(ctx context.Context, report *benchReport) (err error) {
	methods := []dcv.Method{dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01}
	var offered []string
	for _, m := range methods {
		offered = append(offered, string(m))
	}
	server, err := b.gateway(ctx, "methods", "", offered...)
	defer func() { err = errors.Join(err, server.stop()) }()
	if err != nil {
		return err
	}
	if err := server.register(ctx, b.GrowthClients, b.answers); err != nil {
		return err
	}
	if err := b.warmUp(ctx, server, report); err != nil {
		return err
	}
	runs := map[dcv.Method]*benchRun{}
	for range 2 {
		for _, m := range methods {
			if runs[m] == nil {
				runs[m] = &benchRun{}
			}
			for _, c := range server.clients {
				c.method = m
			}
			orders, err := b.orders.make((b.Orders + 1) / 2)
			if err != nil {
				return err
			}
			run, err := b.run(ctx, server, b.GrowthClients, "validation by "+string(m), orders)
			runs[m].add(run)
			if err != nil {
				return err
			}
		}
		slices.Reverse(methods)
	}
	for _, m := range methods {
		report.note(runs[m])
		report.Methods = append(report.Methods, benchMethod{m, b.GrowthClients, runs[m].view()})
	}
	return nil
}

func writeMethods(b *strings.Builder, methods []benchMethod) {
	fmt.Fprintf(b, "\nWhole issuances by method of validation, %d clients. The gateway offers all three, so its records are larger than above.\n\n",
		methods[0].Clients)
	t := newTable("method:", "issued", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "challenge p50", "p95", "p99")
	for _, m := range methods {
		t.add(slices.Concat([]string{string(m.Method), strconv.Itoa(m.Run.Issued), decimals(m.Run.PerSecond, 0)}, m.Run.Latency.cells(),
			[]string{decimals(m.Run.CPU, 2)}, m.Run.Calls[callChallenge.String()].cells())...)
	}
	t.write(b)
}
