package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// serveCmd runs the gateway until it is told to stop.
type serveCmd struct {
	Config     string `help:"Configuration file." short:"c" type:"path"`
	Dev        bool   `help:"Run a throw-away gateway without a file: own hierarchy, embedded store, ports above 1024."`
	Data       string `help:"Data folder, instead of the file's; with --dev one that is kept, where otherwise a temporary one is removed at the end." type:"path"`
	NewJournal bool   `help:"Begin a new audit journal where the old one is lost for good."`
	LogText    bool   `help:"Log text instead of JSON lines."`
	LogLevel   string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	devFlags
}

func (c *serveCmd) Run(ctx context.Context, s streams) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return err
	}
	log := newLogger(s, !c.LogText, level)
	if err := refuseCoreDumps(); err != nil {
		return err
	}
	switch {
	case c.Dev && c.Config != "":
		return errors.New("--dev needs no file, and a file allows no throw-away gateway: leave --config or --dev away")
	case c.Dev:
		return c.serveDev(ctx, s, log)
	case c.Config == "":
		return errors.New("name a configuration file with --config, or try --dev")
	case c.devFlags.given():
		return errors.New("the flags of a throw-away gateway (--listen, --resolver and so on) go with --dev; with --config the file says it")
	}
	file, err := readConfig(c.Config)
	if err != nil {
		return err
	}
	file.Data = cmp.Or(c.Data, file.Data)
	settings, err := file.settings(log)
	if err != nil {
		return err
	}
	if err := file.tryIssuers(settings); err != nil {
		return err
	}
	if err := settings.demandDNSSEC(ctx); err != nil {
		return err
	}
	settings.newJournal = c.NewJournal
	return runGateway(ctx, settings, nil)
}

func (c *serveCmd) serveDev(ctx context.Context, s streams, log *slog.Logger) error {
	folder := c.Data
	if folder == "" {
		var err error
		if folder, err = os.MkdirTemp("", "gatehouse-dev-"); err != nil {
			return err
		}
		defer os.RemoveAll(folder)
	}
	d, err := newDev(folder, c.devFlags, log)
	if err != nil {
		return err
	}
	defer d.close()
	d.newJournal = c.NewJournal
	return runGateway(ctx, d.settings, func() {
		fmt.Fprintf(s.out, "directory    %s/acme/directory\nroot         %s\nhttp-01      port %d\ntls-alpn-01  port %d\n", d.publicURLs[0], d.root, d.http01, d.tlsALPN)
		if d.dns != nil {
			fmt.Fprintf(s.out, "dns-01       records at %s, by nsupdate or another dynamic update\n", d.dns.Addr())
		}
		fmt.Fprintf(s.out, "data         %s\n", folder)
	})
}

// gcPercent lets the heap grow to five times what lives in it. That is a few MiB here, so that with Go's default of twice
// the collector would run after every few MiB, dozens of times a second under load.
const gcPercent = 400

// runGateway opens, serves and closes.
func runGateway(ctx context.Context, s *settings, ready func()) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	redis.RouteLog(s.log)
	g, err := openGateway(ctx, s)
	if err != nil {
		return err
	}
	err = g.serve(ctx, func() {
		s.log.Info("serving", "doors", g.listener.Addr().String(), "plain", g.plain.Addr().String(), "version", version(), "data", s.folder,
			"deployment", g.member.Deployment, "journal", g.member.Journal)
		if ready != nil {
			ready()
		}
	})
	return errors.Join(err, g.close())
}
