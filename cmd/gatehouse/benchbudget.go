package main

import (
	"fmt"
	"strings"
)

// The budgets of an issuance, at budgetClients. CPU and rate are multiples of the floor's.
const (
	budgetClients     = 32
	budgetRate        = 0.70
	budgetCPUEmbedded = 1.75
	budgetCPURedis    = 1.6  // in the gateway
	budgetRedis       = 0.35 // ms in redis-server
)

// writeBudgets compares a level of budgetClients with the budgets, and tells what Redis itself needed at every level.
func writeBudgets(b *strings.Builder, levels []benchLevelView) {
	var inRedis []string
	for _, l := range levels {
		if l.Redis != nil {
			inRedis = append(inRedis, fmt.Sprintf("%s (%d clients)", decimals(l.Redis.RedisCPU, 2), l.Clients))
		}
	}
	if len(inRedis) > 0 {
		fmt.Fprintf(b, "\nThe row redis is a gateway on Redis, appendfsync always; its CPU is without that of redis-server, in ms per issuance: %s.\n",
			strings.Join(inRedis, ", "))
	}
	for _, l := range levels {
		if l.Clients != budgetClients || l.Floor.Issued == 0 {
			continue
		}
		fmt.Fprintf(b, "\nBudgets at %d clients:\n", l.Clients)
		atMost := func(what string, value, budget float64) {
			fmt.Fprintf(b, "- %s: %s; at most %s: %s\n", what, decimals(value, 2), decimals(budget, 2), verdict(value <= budget))
		}
		atLeast := func(what string, value float64) {
			fmt.Fprintf(b, "- %s: %s; at least %s: %s\n", what, decimals(value, 2), decimals(budgetRate, 2), verdict(value >= budgetRate))
		}
		atMost("gateway, CPU, of the floor's", l.CPURatio, budgetCPUEmbedded)
		atLeast("gateway, rate, of the floor's", l.RateRatio)
		if r := l.Redis; r != nil {
			atMost("gateway on Redis, CPU, of the floor's", r.CPURatio, budgetCPURedis)
			atMost("redis-server, CPU, ms", r.RedisCPU, budgetRedis)
			atLeast("gateway on Redis, rate, of the floor's", r.RateRatio)
		}
	}
}
