package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// dnssecProbe are the names that say at the start whether the resolvers validate DNSSEC.
type dnssecProbe struct {
	// Signed is a name whose zone is signed, up to what the resolvers trust. Default ".", the root of the Internet; name one
	// of your own where the resolvers know another root, or none.
	Signed string `yaml:"signed"`
	// Bogus is a name whose signatures do not verify, which the resolvers must refuse. Absent: not asked.
	Bogus string `yaml:"bogus"`
}

// resolver reads which DNS servers are asked, and checks that those are trusted whose word some profile requires. The
// profiles are checked before.
func (c *fileConfig) resolver(s *settings) (dcv.ResolverConfig, error) {
	v := c.Validation
	cfg := dcv.ResolverConfig{Servers: v.Resolvers, Trusted: v.TrustedResolvers}
	if len(cfg.Servers) == 0 {
		system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(system.Servers) == 0 {
			return cfg, c.source.at("validation.resolvers", errors.New("no DNS resolver is configured here or in /etc/resolv.conf; add for example resolvers: [\"192.0.2.53:53\"]"))
		}
		for _, server := range system.Servers {
			cfg.Servers = append(cfg.Servers, net.JoinHostPort(server, system.Port))
		}
	}
	for i, server := range v.TrustedResolvers {
		if !slices.Contains(cfg.Servers, server) {
			return cfg, c.source.at(fmt.Sprintf("validation.trusted_resolvers[%d]", i), fmt.Errorf(
				"%q is none of the resolvers; write it as it stands there: %s", server, strings.Join(cfg.Servers, ", ")))
		}
	}
	if v.ResolverCA != "" {
		var err error
		if cfg.Roots, err = resolverRoots(v.ResolverCA, cfg.Servers); err != nil {
			return cfg, c.source.at("validation.resolver_ca", err)
		}
	}
	r, err := dcv.NewResolver(cfg)
	if err != nil {
		return cfg, c.source.at("validation.resolvers", err)
	}
	if s.probe, err = c.dnssecProbe(s.profileWith(dcv.DNSSECRequire)); err != nil {
		return cfg, err
	}
	if s.probe.DNSSEC && len(r.TrustedServers()) == 0 {
		return cfg, c.source.at("validation.resolvers", fmt.Errorf(
			"profile %s requires DNSSEC, and anybody on the way to these resolvers could forge that they have validated (%s); name one by TLS (tls://192.0.2.53:853#dns.example.com) or on this machine (127.0.0.1:53), or list those in trusted_resolvers that only a network of your own leads to",
			s.profileWith(dcv.DNSSECRequire), strings.Join(cfg.Servers, ", ")))
	}
	return cfg, nil
}

// resolverRoots reads the roots that certify resolvers over TLS.
func resolverRoots(path string, servers []string) (*x509.CertPool, error) {
	if !slices.ContainsFunc(servers, func(s string) bool { return strings.HasPrefix(s, "tls://") }) {
		return nil, errors.New("no resolver is asked over TLS; name one as in tls://192.0.2.53:853#dns.example.com, or leave this out")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return roots, nil
}

// dnssecProbe reads what the resolvers are asked at the start. requires is a profile that requires DNSSEC; empty: none does.
func (c *fileConfig) dnssecProbe(requires string) (dcv.Probe, error) {
	named := c.Validation.DNSSECProbe
	if named == nil {
		return dcv.Probe{DNSSEC: requires != ""}, nil
	}
	if requires == "" {
		return dcv.Probe{}, c.source.at("validation.dnssec_probe", errors.New("no profile requires DNSSEC, so that it is not probed; add dnssec: require to one, or leave this out"))
	}
	p := dcv.Probe{DNSSEC: true}
	for _, one := range []struct {
		field, text string
		to          *string
	}{{"signed", named.Signed, &p.Name}, {"bogus", named.Bogus, &p.Bogus}} {
		if one.text == "" || one.field == "signed" && one.text == "." {
			continue
		}
		id, err := identifier.ParseDNS(one.text)
		if err != nil || id.IsWildcard() {
			return p, c.source.at("validation.dnssec_probe."+one.field, fmt.Errorf("%q is no name that can be asked for; write for example example.com", one.text))
		}
		*one.to = id.Value()
	}
	return p, nil
}

// profileWith is the first profile of a DNSSEC mode, by name; empty if there is none.
func (s *settings) profileWith(mode dcv.DNSSEC) string {
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		if s.profiles[name].DNSSEC() == mode {
			return name
		}
	}
	return ""
}

// warnOfPublic says what public mode still lacks.
func (s *settings) warnOfPublic(log *slog.Logger) {
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		if s.profiles[name].Public() {
			log.Warn("the profile is in public mode, but this version validates from one place alone and not from further perspectives", "profile", name)
			if p := s.profiles[name]; p.DelegatedDomains() {
				log.Warn("validations of domains by e-mail count under the public profile until a date (Baseline Requirements 3.2.2.4.4, .13 and .14); use DNS records", "profile", name, "until", day(policy.EmailEnds()))
			}
		}
	}
}

// probeResolvers asks the resolvers what a start and a check ask.
func (s *settings) probeResolvers(ctx context.Context) ([]dcv.ProbeResult, error) {
	r, err := dcv.NewResolver(s.validation.Resolver)
	if err != nil {
		return nil, err
	}
	return r.Probe(ctx, s.probe), r.Close()
}

// demandDNSSEC refuses a start if a profile requires DNSSEC and one of the trusted resolvers does not validate, or does
// not answer so that nobody knows. Such a resolver is not left out: what would be missed is its operator's to say. Others
// are not asked about names of these profiles, so they do not matter.
func (s *settings) demandDNSSEC(ctx context.Context) error {
	if !s.probe.DNSSEC {
		return nil
	}
	results, err := s.probeResolvers(ctx)
	for _, r := range results {
		if r.Trusted && r.Err != nil {
			err = errors.Join(err, fmt.Errorf("profile %s requires DNSSEC: resolver %s: %w", s.profileWith(dcv.DNSSECRequire), r.Server, r.Err))
		}
	}
	return err
}

// checkResolvers asks each resolver for a name that exists, and whether it validates DNSSEC where that is required.
func checkResolvers(ctx context.Context, s *settings) []checkResult {
	results, err := s.probeResolvers(ctx)
	if err != nil {
		return []checkResult{{"resolver", false, err.Error()}}
	}
	var out []checkResult
	for _, r := range results {
		line := checkResult{"resolver", r.Err == nil, fmt.Sprintf("%s answers in %d ms", r.Server, r.Took.Milliseconds())}
		switch {
		case r.Err != nil:
			line.Detail = fmt.Sprintf("%s: %v", r.Server, r.Err)
		case s.probe.DNSSEC && r.Trusted:
			line.Detail += " and validates DNSSEC"
		case s.probe.DNSSEC:
			line.Detail += "; it is not trusted, and not asked for profiles that require DNSSEC"
		}
		out = append(out, line)
	}
	return out
}
