package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// benchCmd holds the commands that measure. Without a name it is "bench issue".
type benchCmd struct {
	Issue benchIssueCmd `cmd:"" default:"withargs" help:"Measure full ACME issuances beside a stateless floor (the default)."`
	Load  benchLoadCmd  `cmd:"" help:"Fill a store of its own with enrollments."`
	List  benchListCmd  `cmd:"" help:"Measure lists in a store that bench load filled."`
	Door  benchDoorCmd  `cmd:"" help:"Measure lists over HTTP, by the door for SCM clients of a gateway on a store that bench load filled."`
	Flood benchFloodCmd `cmd:"" help:"Measure what floods by strangers do to a few clients."`
}

// benchIssueCmd measures full ACME issuances: order, http-01, finalize, download. A gateway and the floor, each a process of
// its own, are measured by turns in one run, because figures of two runs or two machines say little about each other.
type benchIssueCmd struct {
	Clients       []int         `help:"Clients at once; each number is one level." default:"1,8,32,128" placeholder:"1,8,32,128"`
	Orders        int           `help:"Issuances per level and server; 0 measures no levels." default:"2000"`
	Names         int           `help:"Names per certificate, 1 to 100." default:"2"`
	Duration      time.Duration `help:"The longest that one run of a level, or one window of --growth, goes on." default:"30s"`
	Growth        int           `help:"Measure a fresh gateway from its first issuance to this one, in windows of 1,000." placeholder:"N"`
	GrowthClients int           `help:"Clients at once for --growth." default:"32"`
	Methods       bool          `help:"Measure validation by http-01, dns-01 and tls-alpn-01 beside one another, with --growth-clients clients."`
	Redis         bool          `help:"Measure beside them a gateway on a redis-server that is started for it (levels only)."`
	Profile       string        `help:"Write a CPU profile (pprof) of the gateway (with --redis of the one on Redis), taken in a run of its own, to this file." type:"path" placeholder:"FILE"`
	LogLevel      string        `help:"Log level of the measured gateway, whose log goes to a file." enum:"debug,info,warn,error" default:"info"`
	Dir           string        `help:"Make the folder of store, journal and log here, on the disk that is to be measured." type:"path" placeholder:"DIR"`
	Keep          bool          `help:"Keep that folder."`
	JSON          bool          `help:"Print JSON."`

	FloorListen string `hidden:"" help:"Be the floor at this address, for another bench."`
	FloorHTTP01 string `name:"floor-http01" hidden:"" help:"Where the floor's validations connect to."`
}

const (
	maxBenchClients = 1024
	maxBenchOrders  = 1_000_000
	maxBenchNames   = 100 // as many as one ACME order may have
)

func (c *benchIssueCmd) check() error {
	if len(c.Clients) == 0 {
		return errors.New("--clients names no level")
	}
	for _, n := range append(slices.Clone(c.Clients), c.GrowthClients) {
		if n < 1 || n > maxBenchClients {
			return fmt.Errorf("%d clients cannot be measured; give 1 to %d", n, maxBenchClients)
		}
	}
	switch {
	case c.Names < 1 || c.Names > maxBenchNames:
		return fmt.Errorf("--names %d is out of range; give 1 to %d", c.Names, maxBenchNames)
	case c.Orders < 0 || c.Orders > maxBenchOrders, c.Growth < 0 || c.Growth > maxBenchOrders:
		return fmt.Errorf("--orders and --growth go from 0 to %d", maxBenchOrders)
	case c.Orders == 0 && (c.Growth == 0 && c.Profile == "" || c.Methods):
		return errors.New("there is nothing to do; give --orders, --growth or --profile")
	case c.Duration <= 0:
		return fmt.Errorf("--duration %s is too short", c.Duration)
	}
	return nil
}

func (c *benchIssueCmd) Run(ctx context.Context, s streams) (err error) {
	if c.FloorListen != "" {
		return runFloor(ctx, c.FloorListen, c.FloorHTTP01)
	}
	if err := c.check(); err != nil {
		return err
	}
	b, err := newBench(c, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()

	// What was measured before something went wrong, or Ctrl-C came, is shown all the same.
	report, err := b.measure(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted; what is shown is not all")
	}
	if report.empty() {
		return err
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, report), err, report.failure())
	}
	return errors.Join(writeBenchReport(s.out, report), err, report.failure())
}

// bench is one run of the command.
type bench struct {
	*benchIssueCmd
	executable string
	folder     string
	// redisServer is the program, "" where Redis is not to be measured or not installed.
	redisServer string
	answers     *benchAnswers
	orders      *benchOrders
	progress    *benchProgress
}

func newBench(c *benchIssueCmd, s streams) (_ *bench, err error) {
	b := &bench{benchIssueCmd: c, orders: &benchOrders{names: c.Names}, progress: newBenchProgress(s.err)}
	if b.executable, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("finding this program's own file: %w", err)
	}
	if b.folder, err = os.MkdirTemp(c.Dir, "gatehouse-bench-"); err != nil {
		return nil, err
	}
	if b.answers, err = newBenchAnswers(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.folder))
	}
	if c.Keep {
		fmt.Fprintln(s.err, "store, journal and logs stay in", b.folder)
	}
	return b, nil
}

func (b *bench) close() error {
	err := b.answers.close()
	if !b.Keep {
		err = errors.Join(err, os.RemoveAll(b.folder))
	}
	return err
}

// measure does everything that was asked for. The report holds what was finished, whatever the error.
func (b *bench) measure(ctx context.Context) (*benchReport, error) {
	machine, err := describeMachine(b.folder)
	if err != nil {
		return &benchReport{}, err
	}
	report := &benchReport{Machine: machine, Names: b.Names}
	if b.Redis {
		program, err := exec.LookPath(redisProgram)
		if err == nil {
			b.redisServer = program
		} else {
			report.Note = redisProgram + " is not installed, so nothing is measured on Redis; on Debian: apt-get install redis-server"
		}
	}
	if b.Orders > 0 || b.Profile != "" {
		if err := b.measureLevels(ctx, report); err != nil {
			return report, err
		}
	}
	if b.Methods {
		if err := b.measureMethods(ctx, report); err != nil {
			return report, err
		}
	}
	if b.Growth > 0 {
		err = b.measureGrowth(ctx, report)
	}
	return report, err
}

// gateway starts a gateway with an empty store of its own: embedded, or where redis is an address, in that Redis. It offers
// http-01 alone, or the methods given.
func (b *bench) gateway(ctx context.Context, name, redis string, methods ...string) (*benchServer, error) {
	addrs, err := freeAddrs(3)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(b.folder, name)
	args := []string{
		"serve", "--dev", "--plain-http", "--data", data, "--log-level", b.LogLevel,
		"--listen", addrs[0], "--http-listen", addrs[1], "--admin-listen", addrs[2], "--http01-port", b.answers.port(),
		"--tls-alpn-01-port", b.answers.tlsPort(), "--resolver", b.answers.dns.Addr(),
		"--dcv-methods", cmp.Or(strings.Join(methods, ","), string(dcv.HTTP01)),
	}
	label := "gateway"
	if redis != "" {
		label, args = "gateway on Redis", append(args, "--redis", redis)
	}
	process, err := startBenchProcess(label, data+".log", b.executable, append([]string{"gatehouse"}, args...)...)
	if err != nil {
		return nil, err
	}
	server := &benchServer{process: process, directory: "http://" + addrs[0] + "/acme/directory", admin: "http://" + addrs[2], data: data}
	return server, server.await(ctx)
}

// floor starts the floor.
func (b *bench) floor(ctx context.Context) (*benchServer, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	process, err := startBenchProcess("floor", filepath.Join(b.folder, "floor.log"), b.executable, "gatehouse",
		"bench", "--floor-listen", addrs[0], "--floor-http01", b.answers.addr())
	if err != nil {
		return nil, err
	}
	server := &benchServer{process: process, directory: "http://" + addrs[0] + "/acme/directory"}
	return server, server.await(ctx)
}
