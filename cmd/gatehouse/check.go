package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// checkCmd says, a line each, whether a gateway with this configuration would work here.
type checkCmd struct {
	Config string `help:"Configuration file." short:"c" type:"path" required:""`
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
	settings, err := file.settings(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	results := []checkResult{{"configuration", true, c.Config + " is well-formed"}}
	results = append(results, checkIssuers(settings)...)
	results = append(results, checkProfiles(settings)...)
	if running(settings.folder) {
		results = append(results, checkResult{"data folder", true, "held by the running gateway, as are the ports; what it holds is not looked into"})
	} else {
		results = append(results, checkState(settings)...)
		results = append(results, checkPorts(settings)...)
	}
	results = append(results, checkResolvers(ctx, settings)...)
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
		r := checkResult{"profile " + name, true, fmt.Sprintf("issues for %s", p.Validity())}
		switch end := ends[p.Issuer()]; {
		case time.Now().Add(p.Validity()).After(end):
			r.OK, r.Detail = false, fmt.Sprintf("its certificates would outlive the issuer %s, which ends at %s, and are refused; renew the issuer or shorten validity", p.Issuer(), day(end))
		case p.Public():
			r.OK, r.Detail = false, "mode is public, but CAA, DNSSEC and further perspectives are not checked by this version: it must not serve public trust"
		}
		out = append(out, r)
	}
	return out
}

// running reports whether a gateway answers on a folder's admin socket.
func running(folder string) bool {
	c, err := net.Dial("unix", filepath.Join(folder, adminSocket))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// writable tries to make a file in a folder, or in the nearest folder above it that exists.
func writable(folder string) error {
	for {
		f, err := os.CreateTemp(folder, ".gatehouse-check-*")
		if err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
		if !errors.Is(err, os.ErrNotExist) || folder == filepath.Dir(folder) {
			return err
		}
		folder = filepath.Dir(folder)
	}
}

// checkState opens store and journal without changing them, or says who holds them.
func checkState(s *settings) []checkResult {
	store, journal := filepath.Join(s.folder, "store"), filepath.Join(s.folder, "journal")
	hasStore, err := holdsFiles(store, "*")
	if err != nil {
		return []checkResult{{"data folder", false, err.Error()}}
	}
	hasJournal, err := holdsFiles(journal, journalFiles)
	switch {
	case err != nil:
		return []checkResult{{"data folder", false, err.Error()}}
	case !hasStore && !hasJournal:
		if err := writable(s.folder); err != nil {
			return []checkResult{{"data folder", false, err.Error()}}
		}
		return []checkResult{{"data folder", true, s.folder + " is empty; the first start makes store and journal"}}
	case !hasJournal:
		return []checkResult{{"data folder", false, s.folder + " holds a store but no journal; restore it, or start once with --new-journal if it is lost for good"}}
	case !hasStore:
		return []checkResult{{"data folder", true, s.folder + " holds a journal but no store; the next start makes the store from it"}, checkJournal(journal)}
	}
	return []checkResult{checkStore(store), checkJournal(journal)}
}

func checkStore(folder string) checkResult {
	e, err := embedded.Open(embedded.Config{Dir: folder})
	if err != nil {
		return checkResult{"store", false, err.Error()}
	}
	h := e.Health(context.Background())
	if err := errors.Join(h.Err, e.Close()); err != nil {
		return checkResult{"store", false, err.Error()}
	}
	return checkResult{"store", true, h.Durability}
}

func checkJournal(folder string) checkResult {
	report, err := audit.Verify(folder)
	if err != nil {
		return checkResult{"journal", false, err.Error()}
	}
	return checkResult{"journal", true, fmt.Sprintf("%d entries, the chain is whole, end %s", report.Entries, report.Head)}
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

// checkResolvers asks each resolver for the root's name servers, which every recursive resolver knows.
func checkResolvers(ctx context.Context, s *settings) []checkResult {
	var out []checkResult
	for _, server := range s.validation.Resolver.Servers {
		r := checkResult{Name: "resolver", OK: true}
		query := new(dns.Msg).SetQuestion(".", dns.TypeNS)
		client := dns.Client{Timeout: 3 * time.Second}
		reply, took, err := client.ExchangeContext(ctx, query, server)
		switch {
		case err != nil:
			r.OK, r.Detail = false, fmt.Sprintf("%s does not answer: %v", server, err)
		case reply.Rcode != dns.RcodeSuccess:
			r.OK, r.Detail = false, fmt.Sprintf("%s answers %s to a question for the root's name servers; is it a recursive resolver?", server, strings.ToLower(dns.RcodeToString[reply.Rcode]))
		default:
			r.Detail = fmt.Sprintf("%s answers in %d ms", server, took.Milliseconds())
		}
		out = append(out, r)
	}
	return out
}
