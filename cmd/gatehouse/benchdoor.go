package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
)

// benchDoorCmd measures lists as a client gets them, over HTTP from a gateway that is a process of its own, and how long that takes
// to start. The store is that gateway's afterwards: it cannot be loaded any more.
type benchDoorCmd struct {
	benchStoreFlags
	Pages int  `help:"Requests for each figure." default:"200" placeholder:"N"`
	JSON  bool `help:"Print JSON."`
}

func (c *benchDoorCmd) Run(ctx context.Context, s streams) (err error) {
	if err := checkPages(c.Pages); err != nil {
		return err
	}
	if len(c.Redis) > 1 {
		return errors.New("the lists of a Cluster are measured by bench list alone; name one Redis")
	}
	stock, err := c.stock(ctx)
	if err != nil {
		return err
	}
	d := &benchDoor{benchDoorCmd: c, progress: newBenchProgress(s.err)}
	if d.folder, err = os.MkdirTemp("", "gatehouse-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.folder)) }()
	report, err := d.measure(ctx, stock)
	if len(report.Lists) == 0 {
		return err
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, report), err)
	}
	return errors.Join(report.write(s.out), err)
}

// doorStock is what is known of a loaded store before a gateway opens it.
type doorStock struct {
	kind  string // "embedded" or "redis"
	total int64
	last  ra.ID // the greatest number
}

// stock looks into the store, which must be one that bench load filled and no gateway has opened, and closes it.
func (c *benchDoorCmd) stock(ctx context.Context) (d doorStock, err error) {
	if c.Store != "" && filepath.Base(c.Store) != "store" {
		return d, fmt.Errorf("a gateway keeps its store in the folder \"store\" of its data folder; %s has another name", c.Store)
	}
	store, err := c.open(ctx)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	if _, err := store.check(ctx); err != nil {
		return d, err
	}
	found, err := store.db.Search(ctx, ra.Query{Limit: 1, Newest: true}, time.Now())
	if err != nil {
		return d, err
	}
	if len(found.Enrollments) == 0 {
		return d, errors.New("the store is empty; fill it with gatehouse bench load")
	}
	return doorStock{store.kind, found.Total, found.Enrollments[0].ID}, nil
}

// benchDoor is one run of the command.
type benchDoor struct {
	*benchDoorCmd
	folder   string
	progress *benchProgress
}

// measure starts the gateway twice. The report holds what was measured, whatever the error. What the first start has to do once for a store is
// told from what every start does.
func (d *benchDoor) measure(ctx context.Context, stock doorStock) (report *benchDoorReport, err error) {
	report = &benchDoorReport{Store: stock.kind, Enrollments: stock.total, PageSize: pageSize, Samples: d.Pages}
	for n := range 2 {
		begun := time.Now()
		gateway, err := d.start(ctx, n)
		if err != nil {
			return report, err
		}
		report.Starts = append(report.Starts, milliseconds(time.Since(begun)))
		if n == 0 {
			report.Lists, err = d.lists(ctx, gateway, stock)
		}
		if err = errors.Join(err, gateway.stop()); err != nil {
			return report, err
		}
	}
	return report, nil
}

// start starts a throw-away gateway that knows the organisations and profiles of bench load, and waits until it answers.
func (d *benchDoor) start(ctx context.Context, n int) (*benchServer, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's own file: %w", err)
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(d.folder, "data")
	var more []string
	switch {
	case d.Store == "":
		more = []string{"--redis", d.Redis[0], "--redis-name", d.RedisName}
	case n == 0: // a store without a journal is what a gateway takes for a loss
		data, more = filepath.Dir(d.Store), []string{"--new-journal"}
	default:
		data = filepath.Dir(d.Store)
	}
	args := []string{"gatehouse", "serve", "--dev", "--stock", "--plain-http", "--data", data, "--log-level", "info", "--listen", addrs[0], "--http-listen", addrs[1]}
	process, err := startBenchProcess("gateway", filepath.Join(d.folder, fmt.Sprintf("gateway-%d.log", n)), executable, append(args, more...)...)
	if err != nil {
		return nil, err
	}
	server := &benchServer{process: process, directory: "http://" + addrs[0] + "/acme/directory", data: data}
	if err := server.await(ctx); err != nil {
		return nil, errors.Join(err, server.stop())
	}
	return server, nil
}

// lists has a client made who may view all organisations, and measures what it lists.
func (d *benchDoor) lists(ctx context.Context, gateway *benchServer, stock doorStock) ([]benchDoorList, error) {
	admin := adminFlags{Data: gateway.data}
	var user userView
	if err := admin.call(ctx, "POST", "/principals", userAdd{Org: "dev", Login: "lister", Roles: []roleView{{Role: auth.Auditor.String()}}}, &user); err != nil {
		return nil, err
	}
	var key keyView
	if err := admin.call(ctx, "POST", userArg{Login: "lister"}.path("/credentials"), keyAdd{Kind: "oauth"}, &key); err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(gateway.directory, "/acme/directory")
	client := newDoorClient(base, base+scm.TokenPath, key.ClientID, key.ClientSecret)
	defer client.http.CloseIdleConnections()
	var lists []benchDoorList
	for _, c := range doorCases(stock.last) {
		client.done.Store(0)
		stop := d.progress.track("list over HTTP by "+c.by, 0, &client.done)
		list, err := client.measure(ctx, c, d.Pages)
		stop()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("list over HTTP by %s: %w", c.by, err), gateway.process.alive())
		}
		lists = append(lists, list)
	}
	return lists, nil
}
