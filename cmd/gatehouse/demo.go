package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// demoCmd shows what a gateway does, with a throw-away one.
type demoCmd struct {
	Once bool `help:"Exit after the last step instead of serving on."`
	devFlags
}

// demoNames are what the demo orders certificates for; for its gateway every name is this machine.
var demoNames = [][]string{{"demo.example.com", "www.demo.example.com"}, {"revoked.example.com"}}

func (c *demoCmd) Run(ctx context.Context, s streams) error {
	folder, err := os.MkdirTemp("", "gatehouse-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	steps := &narrator{out: s.out, last: time.Now()}

	log := newLogger(streams{out: s.out, err: io.Discard}, true, 0)
	d, err := newDev(folder, c.devFlags, log)
	if err != nil {
		return err
	}
	defer d.close()
	g, err := openGateway(ctx, d.settings)
	if err != nil {
		return err
	}
	defer g.close()
	steps.done("made a throw-away root and issuer, opened an embedded store and an audit journal")

	serving, stop := context.WithCancel(ctx)
	defer stop()
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- g.serve(serving, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-ended:
		return err
	}
	steps.done("the gateway listens at %s", d.publicURLs[0])

	if err := c.tour(ctx, d, steps); err != nil {
		stop()
		return errors.Join(fmt.Errorf("the demo failed: %w", err), <-ended)
	}
	if !c.Once {
		c.invite(s.out, d)
		select {
		case <-ctx.Done():
		case err := <-ended:
			return errors.Join(errors.New("the gateway ended by itself"), err)
		}
	}
	stop()
	return <-ended
}

// tour is the demo as an ACME client sees it.
func (c *demoCmd) tour(ctx context.Context, d *dev, steps *narrator) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answers, err := testca.NewHTTP(testca.HTTPConfig{Addr: "127.0.0.1:" + strconv.Itoa(int(d.http01))})
	if err != nil {
		return fmt.Errorf("answering http-01 on port %d: %w", d.http01, err)
	}
	defer answers.Close()
	client, err := newDemoClient(d.root, d.publicURLs[0]+"/acme/directory", answers)
	if err != nil {
		return err
	}
	if err := client.register(ctx); err != nil {
		return err
	}
	steps.done("registered an ACME account")

	first, err := client.issue(ctx, demoNames[0], steps)
	if err != nil {
		return err
	}
	steps.done("downloaded certificate %s…, valid to %s; its chain verifies against the root", first.serial()[:16], day(first.leaf.NotAfter))

	second, err := client.issue(ctx, demoNames[1], steps)
	if err != nil {
		return err
	}
	steps.done("downloaded certificate %s…", second.serial()[:16])
	if err := client.revoke(ctx, second); err != nil {
		return err
	}
	steps.done("revoked %s… for key compromise", second.serial()[:16])
	number, entries, err := client.awaitRevocation(ctx, second)
	if err != nil {
		return err
	}
	steps.done("CRL number %s lists it, with %d in all; the issuer's signature on it verifies", number, entries)
	return nil
}

// invite says what to try next.
func (c *demoCmd) invite(out io.Writer, d *dev) {
	tmp := filepath.Join(os.TempDir(), "gatehouse-certbot")
	fmt.Fprintf(out, `
The gateway goes on at %[1]s (CRL and health at http://%[2]s); Ctrl-C ends it.
Every name is this machine to it, so this works in another terminal:

  REQUESTS_CA_BUNDLE=%[3]s certbot certonly --standalone --http-01-port %[4]d \
    --server %[1]s/acme/directory -d my.example.com \
    --agree-tos --register-unsafely-without-email --non-interactive \
    --config-dir %[5]s --work-dir %[5]s --logs-dir %[5]s

  gatehouse cert list --data %[6]s
`, d.publicURLs[0], d.httpListen, d.root, d.http01, tmp, d.folder)
}

// narrator prints each step with the time since the last.
type narrator struct {
	out  io.Writer
	last time.Time
}

func (n *narrator) done(format string, args ...any) {
	now := time.Now()
	fmt.Fprintf(n.out, "%8.1f ms  %s\n", float64(now.Sub(n.last).Microseconds())/1000, fmt.Sprintf(format, args...))
	n.last = now
}
