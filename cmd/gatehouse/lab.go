package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// labCmd holds the commands of the lab: a throw-away gateway among hosts that misbehave, to meet every method's troubles
// offline.
type labCmd struct {
	Run    labRunCmd    `cmd:"" default:"withargs" help:"Start the lab: a throw-away gateway, and hosts that misbehave. The command when none is named."`
	List   labListCmd   `cmd:"" help:"List the lab's names: what is wrong with each, and what the gateway says to it."`
	Try    labTryCmd    `cmd:"" help:"Order a name of the lab, or all, as a client of its own, and show what the gateway says."`
	Record labRecordCmd `cmd:"" help:"Add or remove the DNS record of a dns-01 challenge in a running lab, as certbot's hooks do."`
}

// labRunCmd starts the lab and stays until it is told to end.
type labRunCmd struct {
	labFlags
	Data string `help:"Folder to keep, instead of a temporary one that is removed at the end. A new or an empty one, or an earlier lab's." type:"path"`
	Once bool   `help:"Order every name of the table as a client, compare what comes of it, and end."`
	JSON bool   `help:"Print JSON: with --once what came of each name, otherwise where everything is."`
}

func (c *labRunCmd) Run(ctx context.Context, s streams) error {
	progress := s.out
	if c.JSON {
		progress = s.err
	}
	steps := &narrator{out: progress, last: time.Now()}
	return withLab(ctx, c.labFlags, c.Data, steps, func(l *lab) error {
		if c.Once {
			return tryAll(ctx, s.out, l.state, labHosts(), c.JSON)
		}
		if c.JSON {
			if err := writeJSON(s.out, l.state); err != nil {
				return err
			}
		} else {
			c.invite(s.out, l.state)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-l.ended:
			l.ended <- nil // for withLab, which waits for the end
			return errors.Join(errors.New("the gateway ended by itself"), err)
		}
	})
}

// invite says what to try.
func (c *labRunCmd) invite(out io.Writer, l labState) {
	fmt.Fprintf(out, `
directory    %[1]s
root         %[2]s
http-01      your client answers at 127.0.0.1:%[3]d
tls-alpn-01  your client answers at 127.0.0.1:%[4]d
dns-01       records at %[5]s, by nsupdate or another dynamic update (RFC 2136)
data         %[6]s
log          %[7]s

Every name is this machine, but for those of the table, which misbehave (gatehouse lab list):

`, l.Directory, l.Root, l.HTTP01, l.TLSALPN01, l.DNS, l.Data, filepath.Join(l.Data, labLog))
	_ = writeLabTable(out, labSamples())
	fmt.Fprintf(out, `
See what the gateway says to one of them, or to all:

  gatehouse lab try redirect-loop.http.%[7]s --data %[6]s
  gatehouse lab try --data %[6]s

With certbot, by http-01 and by dns-01:

  REQUESTS_CA_BUNDLE=%[2]s certbot certonly --server %[1]s \
    --standalone --http-01-address 127.0.0.1 --http-01-port %[3]d -d redirect-loop.http.%[7]s \
    --agree-tos --register-unsafely-without-email --non-interactive \
    --config-dir %[8]s --work-dir %[8]s --logs-dir %[8]s

  REQUESTS_CA_BUNDLE=%[2]s certbot certonly --server %[1]s \
    --manual --preferred-challenges dns -d '*.ok.txt.%[7]s' \
    --manual-auth-hook 'gatehouse lab record add --data %[6]s' \
    --manual-cleanup-hook 'gatehouse lab record remove --data %[6]s' \
    --agree-tos --register-unsafely-without-email --non-interactive \
    --config-dir %[8]s --work-dir %[8]s --logs-dir %[8]s

With lego, by http-01, tls-alpn-01 and dns-01:

  export LEGO_CA_CERTIFICATES=%[2]s RFC2136_NAMESERVER=%[5]s
  lego --server %[1]s --accept-tos --email you@example.com --path %[9]s \
    --http --http.port 127.0.0.1:%[3]d -d ok.http.%[7]s run
  lego --server %[1]s --accept-tos --email you@example.com --path %[9]s \
    --tls --tls.port 127.0.0.1:%[4]d -d ok.tls.%[7]s run
  lego --server %[1]s --accept-tos --email you@example.com --path %[9]s \
    --dns rfc2136 --dns.resolvers %[5]s --dns.disable-cp -d ok.txt.%[7]s run

Look at what came of it:

  gatehouse authz list --data %[6]s
  gatehouse authz show --data %[6]s URL-OR-ID
  gatehouse cert list --data %[6]s
  gatehouse audit verify --data %[6]s

Ctrl-C ends the lab.
`, l.Directory, l.Root, l.HTTP01, l.TLSALPN01, l.DNS, l.Data, labDomain, filepath.Join(l.Data, "certbot"), filepath.Join(l.Data, "lego"))
}

// labSamples are a few rows of the table, one of each kind.
func labSamples() []labHost {
	var some []labHost
	for _, name := range []string{"redirect-loop.http", "wrong-body.http", "servfail.dns", "alias-chain.dns", "not-critical.tls", "delegated.txt", "forbidden.caa", "bogus.dnssec"} {
		if h, ok := findLabHost(name+"."+labDomain, ""); ok {
			some = append(some, h)
		}
	}
	return some
}
