package dcv

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestProbe(t *testing.T) {
	for name, row := range map[string]struct {
		prepare func(*world)
		probe   Probe
		part    string // of the error; empty: none
	}{
		"DNSSEC does not matter":     {func(w *world) { w.dns.SetAddrs("."); w.v.resolver.servers[0].trusted = false }, Probe{}, ""},
		"no recursion":               {func(*world) {}, Probe{}, "the root does not exist"},
		"refused":                    {func(w *world) { w.dns.Break("", 0, testca.DNSFault{Kind: testca.DNSRefused}) }, Probe{}, `"REFUSED"`},
		"silent":                     {func(w *world) { w.dns.Break("", 0, testca.DNSFault{Kind: testca.DNSSilent}) }, Probe{}, "does not answer: timed out"},
		"the root":                   {func(w *world) { w.sign(testca.ZoneSigned) }, Probe{DNSSEC: true}, ""},
		"another name":               {func(w *world) { w.zone("example.com", testca.ZoneSigned) }, Probe{DNSSEC: true, Name: "example.com"}, ""},
		"a name that does not exist": {func(w *world) { w.zone("example.com", testca.ZoneSigned) }, Probe{DNSSEC: true, Name: "no.example.com"}, ""},
		"does not validate":          {func(w *world) { w.dns.SetAddrs(".") }, Probe{DNSSEC: true}, "does not validate DNSSEC: its answer to a question for the root"},
		"does not validate the name": {func(w *world) { w.sign(testca.ZoneInsecure) }, Probe{DNSSEC: true, Name: "example.com"}, "for example.com is not authenticated"},
		"cannot validate the name":   {func(w *world) { w.sign(testca.ZoneBogus) }, Probe{DNSSEC: true, Name: "example.com"}, "DNSSEC Bogus (6)"},
		"refuses a bogus name":       {func(w *world) { w.sign(testca.ZoneBogus) }, Probe{DNSSEC: true, Bogus: "example.com"}, ""},
		"accepts a bogus name":       {func(w *world) { w.sign(testca.ZoneSigned) }, Probe{DNSSEC: true, Bogus: "example.com"}, "its answer for example.com, whose signatures should not verify"},
		"says AD to everything": {func(w *world) {
			w.dns.SetAddrs(".")
			w.dns.SetAddrs("example.com")
			w.dns.Break("", 0, testca.DNSFault{AD: true})
		}, Probe{DNSSEC: true, Bogus: "example.com"}, "and not SERVFAIL"},
		"an untrusted one is let off": {func(w *world) { w.dns.SetAddrs("."); w.v.resolver.servers[0].trusted = false }, Probe{DNSSEC: true, Bogus: "example.com"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, short)
			row.prepare(w)
			results := w.v.resolver.Probe(t.Context(), row.probe)
			if len(results) != 1 || results[0].Server != w.dns.Addr() || results[0].Trusted != w.v.resolver.servers[0].trusted {
				t.Fatalf("%+v", results)
			}
			switch err := results[0].Err; {
			case row.part == "" && err != nil:
				t.Error(err)
			case row.part != "" && (err == nil || !strings.Contains(err.Error(), row.part)):
				t.Errorf("error %v lacks %q", err, row.part)
			}
		})
	}
	d, use := overTLS(t, "other.example.net")
	w := newWorld(t, use)
	if results := w.v.resolver.Probe(t.Context(), Probe{}); len(results) != 1 || results[0].Err == nil || !strings.Contains(results[0].Err.Error(), "certificate must be for") {
		t.Errorf("%+v", results)
	}
	if len(d.Queries()) != 0 {
		t.Error("a question was sent")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if results := w.v.resolver.Probe(ctx, Probe{}); results[0].Err == nil {
		t.Error("no answer, and no error")
	}
}
