package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// checkCmd says, a line each, whether a gateway with this configuration would work here.
type checkCmd struct {
	Config string `help:"Configuration file." short:"c" type:"path" required:""`
	Data   string `help:"Data folder, instead of the file's." type:"path"`
	JSON   bool   `help:"Print JSON."`
}

// checkResult is one line.
type checkResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (c *checkCmd) Run(ctx context.Context, s streams) error {
	file, err := readConfig(c.Config)
	if err != nil {
		return err
	}
	file.Data = cmp.Or(c.Data, file.Data)
	settings, err := file.settings(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	results := []checkResult{{"configuration", true, c.Config + " is well-formed"}}
	results = append(results, checkIssuers(settings)...)
	results = append(results, checkProfiles(settings)...)
	serving := running(settings.folder)
	results = append(results, checkCertificate(settings, serving, time.Now()), checkClients(settings))
	results = append(results, checkState(ctx, settings, serving)...)
	if !serving {
		results = append(results, checkPorts(settings)...)
	}
	results = append(results, checkResolvers(ctx, settings)...)
	results = append(results, checkMail(ctx, settings)...)
	results = append(results, checkReached(ctx, settings, serving)...)
	if c.JSON {
		err = writeJSON(s.out, results)
	} else {
		err = printChecks(s.out, results)
	}
	for _, r := range results {
		if !r.OK {
			return errors.Join(err, errReported)
		}
	}
	return err
}

func printChecks(w io.Writer, results []checkResult) error {
	for _, r := range results {
		mark := "ok  "
		if !r.OK {
			mark = "FAIL"
		}
		if _, err := fmt.Fprintf(w, "%s  %-14s %s\n", mark, r.Name, r.Detail); err != nil {
			return err
		}
	}
	return nil
}

// checkIssuers repeats what a start demands of the issuers: that their certificates may sign and their keys fit.
func checkIssuers(s *settings) []checkResult {
	var out []checkResult
	for _, i := range s.issuers {
		cert := i.Chain[0]
		r := checkResult{"issuer " + i.Name, true, fmt.Sprintf("%s, valid to %s", cert.Subject, day(cert.NotAfter))}
		if err := tryIssuer(s, i.Name); err != nil {
			r.OK, r.Detail = false, err.Error()
		} else if left := time.Until(cert.NotAfter); left < 30*24*time.Hour {
			r.OK, r.Detail = false, fmt.Sprintf("expires in %d days: %s", int(left.Hours()/24), cert.Subject)
		}
		out = append(out, r)
	}
	return out
}

// checkProfiles says of each profile whether its issuer can sign it for its whole validity, and what public mode lacks.
func checkProfiles(s *settings) []checkResult {
	ends := map[string]time.Time{}
	for _, i := range s.issuers {
		ends[i.Name] = i.Chain[0].NotAfter
	}
	var out []checkResult
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		p := s.profiles[name]
		longest := slices.Max(append(p.Terms(time.Now()), p.Validity()))
		r := checkResult{"profile " + name, true, fmt.Sprintf("issues for %s", longest)}
		switch end := ends[p.Issuer()]; {
		case time.Now().Add(longest).After(end):
			r.OK, r.Detail = false, fmt.Sprintf("its certificates would outlive the issuer %s, which ends at %s, and are refused; renew the issuer or shorten validity and terms", p.Issuer(), day(end))
		case p.Public():
			r.OK, r.Detail = false, "mode is public, but this version validates from one place alone and not from further perspectives: it must not serve public trust"
			if p.DelegatedDomains() {
				r.Detail += "; validations of domains by e-mail count under it until " + day(policy.EmailEnds())
			}
		case p.Requirement() == policy.NoValidation:
			r.Detail += "; WARNING: dcv is none, so whoever may use it gets certificates for the names in its allow_names, without any validation"
		}
		out = append(out, r)
	}
	return out
}

// checkPorts opens every listener for a moment.
func checkPorts(s *settings) []checkResult {
	var out []checkResult
	for _, p := range []struct{ name, addr string }{{"listen", s.listen}, {"http.listen", s.httpListen}} {
		out = append(out, checkPort(p.name, p.addr, web.Listen))
	}
	if s.adminListen != "" {
		out = append(out, checkPort("admin_listen", s.adminListen, web.ListenAdmin))
	}
	return out
}

func checkPort(name, addr string, listen func(string) (net.Listener, error)) checkResult {
	l, err := listen(addr)
	if err != nil {
		return checkResult{name, false, err.Error()}
	}
	l.Close()
	return checkResult{name, true, addr + " can be listened on"}
}
