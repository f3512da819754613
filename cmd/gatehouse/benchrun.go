package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	// warmUp issuances precede the levels, unmeasured, on either server: first connections, page cache, the heap's first
	// growth; fewer if a level has fewer. The growth run has none, because it is about the first ones too.
	warmUp = 100

	growthWindow = 1000

	profileTime    = 10 * time.Second
	profileClients = 32 // the budgets' level; less if no level asks for as many
)

// measureLevels measures gateways and floor at each level of clients.
func (b *bench) measureLevels(ctx context.Context, report *benchReport) (err error) {
	servers, err := b.startServers(ctx)
	defer func() { err = errors.Join(err, servers.stop()) }()
	if err != nil {
		return err
	}
	gateway := servers.gateway
	empty, err := gateway.size()
	if err != nil {
		return err
	}
	for _, s := range servers.all() {
		if err := s.register(ctx, slices.Max(b.Clients), b.answers); err != nil {
			return err
		}
		if err := b.warmUp(ctx, s, report); err != nil {
			return err
		}
	}
	heap, err := gateway.heap(ctx)
	if err != nil {
		return err
	}
	if b.Orders > 0 {
		for _, clients := range b.Clients {
			level, err := b.measureLevel(ctx, servers, clients)
			report.addLevel(level)
			if err != nil {
				return err
			}
		}
		if report.State, err = gateway.state(ctx, empty, heap); err != nil {
			return err
		}
	}
	if b.Profile == "" {
		return nil
	}
	return b.profile(ctx, cmp.Or(servers.redis, gateway), report)
}

// benchServers are the servers that are measured by turns.
type benchServers struct {
	gateway *benchServer
	redis   *benchServer // a gateway on Redis; nil if there is to be none
	floor   *benchServer
}

// startServers starts them all. What has been started is returned with an error too, to be stopped.
func (b *bench) startServers(ctx context.Context) (s benchServers, err error) {
	if s.gateway, err = b.gateway(ctx, "levels", ""); err != nil {
		return s, err
	}
	if b.redisServer != "" {
		if s.redis, err = b.redisGateway(ctx, "levels-redis"); err != nil {
			return s, err
		}
	}
	s.floor, err = b.floor(ctx)
	return s, err
}

// all are those that there are, in the order in which they are measured.
func (s *benchServers) all() []*benchServer {
	return slices.DeleteFunc([]*benchServer{s.gateway, s.redis, s.floor}, func(s *benchServer) bool { return s == nil })
}

func (s *benchServers) stop() error {
	var errs []error
	for _, server := range s.all() {
		errs = append(errs, server.stop())
	}
	return errors.Join(errs...)
}

func (b *bench) warmUp(ctx context.Context, s *benchServer, report *benchReport) error {
	n := warmUp
	if b.Orders > 0 {
		n = min(n, b.Orders)
	}
	orders, err := b.orders.make(n)
	if err != nil {
		return err
	}
	clients := min(profileClients, len(s.clients))
	run, err := b.run(ctx, s, clients, "warming up the "+s.process.name, orders)
	report.note(run)
	return err
}

// measureLevel gives all servers the same orders, half of them in the sequence gateway, floor and half in the reverse one:
// what drifts on the machine meanwhile then weighs equally on each.
func (b *bench) measureLevel(ctx context.Context, servers benchServers, clients int) (*benchLevel, error) {
	orders, err := b.orders.make(b.Orders)
	if err != nil {
		return nil, err
	}
	level := &benchLevel{clients: clients, gateway: &benchRun{}, floor: &benchRun{}}
	runs := map[*benchServer]*benchRun{servers.gateway: level.gateway, servers.floor: level.floor}
	if servers.redis != nil {
		level.redis = &benchRun{}
		runs[servers.redis] = level.redis
	}
	order, half := servers.all(), (len(orders)+1)/2
	for _, part := range [][]*benchOrder{orders[:half], orders[half:]} {
		for _, server := range order {
			if len(part) == 0 {
				continue
			}
			run, err := b.run(ctx, server, clients, fmt.Sprintf("%d clients, %s", clients, server.process.name), part)
			runs[server].add(run)
			if err != nil {
				return level, err
			}
		}
		slices.Reverse(order)
	}
	return level, nil
}

// run has clients work through orders, with the server's CPU time and a bar. An error means that there is no more to be
// measured here: the end of ctx, or a server that died.
func (b *bench) run(ctx context.Context, s *benchServer, clients int, label string, orders []*benchOrder) (*benchRun, error) {
	load := &benchLoad{clients: s.clients[:clients], next: listOf(orders), limit: b.Duration}
	stop := b.progress.track(label, len(orders), &load.done)
	defer stop()
	return s.measure(ctx, load)
}

// profile takes a CPU profile of the gateway under load. The load is not reported: being profiled costs time as well.
func (b *bench) profile(ctx context.Context, gateway *benchServer, report *benchReport) error {
	load := &benchLoad{
		clients: gateway.clients[:min(profileClients, len(gateway.clients))], limit: profileTime + time.Second,
		next: func() *benchOrder { return b.orders.one() },
	}
	// The load goes on for as long as the profile takes.
	loading, end := context.WithCancel(ctx)
	defer end()
	fetched := make(chan error, 1)
	go func() {
		defer end()
		fetched <- saveProfile(ctx, gateway.admin+"/debug/pprof/profile?seconds="+strconv.Itoa(int(profileTime/time.Second)), b.Profile)
	}()
	stop := b.progress.track("profiling the gateway", 0, &load.done)
	run, err := gateway.measure(loading, load)
	stop()
	end()
	if err != nil && loading.Err() != nil {
		err = nil // ended by us; ctx's own end is the fetch's error
	}
	err = errors.Join(err, <-fetched)
	report.note(run)
	if err == nil {
		report.Profile = b.Profile
	}
	return err
}

func saveProfile(ctx context.Context, url, path string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profiling the gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profiling the gateway: it answers %s", resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// measureGrowth watches a fresh gateway grow.
func (b *bench) measureGrowth(ctx context.Context, report *benchReport) (err error) {
	gateway, err := b.gateway(ctx, "growth", "")
	defer func() { err = errors.Join(err, gateway.stop()) }()
	if err != nil {
		return err
	}
	empty, err := gateway.size()
	if err != nil {
		return err
	}
	if err := gateway.register(ctx, b.GrowthClients, b.answers); err != nil {
		return err
	}
	heap, err := gateway.heap(ctx)
	if err != nil {
		return err
	}
	growth := &benchGrowth{Clients: b.GrowthClients, EmptyHeap: heap, Windows: []benchWindow{}}
	report.Growth = growth
	for issued := 0; issued < b.Growth; {
		n := min(growthWindow, b.Growth-issued)
		orders, err := b.orders.make(n)
		if err != nil {
			return err
		}
		label := fmt.Sprintf("growth, issuances %d to %d", issued+1, issued+n)
		run, err := b.run(ctx, gateway, b.GrowthClients, label, orders)
		report.note(run)
		if err != nil {
			return err
		}
		issued += run.issued
		state, err := gateway.state(ctx, empty, heap)
		if err != nil {
			return err
		}
		growth.Windows = append(growth.Windows, benchWindow{Issued: issued, Run: run.view(), State: *state})
		if run.issued < n {
			growth.Ended = fmt.Sprintf("ended early: the last window issued %d of %d in %s; %d failed", run.issued, n, run.elapsed.Round(time.Second), run.failed)
			return nil
		}
	}
	return nil
}

// size is how much disk the store takes, and how much is written of the journal, which takes its space in steps.
func (s *benchServer) size() (size benchSize, err error) {
	if size.Store, err = diskUsage(filepath.Join(s.data, "store")); err != nil {
		return size, err
	}
	size.Journal, err = written(filepath.Join(s.data, "journal"))
	return size, err
}

// state is what the gateway holds after what it has issued, compared with how it began.
func (s *benchServer) state(ctx context.Context, empty benchSize, heap int64) (*benchState, error) {
	size, err := s.size()
	if err != nil {
		return nil, err
	}
	now, err := s.heap(ctx)
	if err != nil {
		return nil, err
	}
	peak, err := peakMemory(s.process.pid())
	if err != nil {
		return nil, err
	}
	return newBenchState(s.certificates(), s.certificateSize(), empty, size, heap, now, peak), nil
}
