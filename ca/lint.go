package ca

import (
	"fmt"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
	_ "github.com/zmap/zlint/v3/lints/apple" // lints register themselves
	_ "github.com/zmap/zlint/v3/lints/cabf_br"
	_ "github.com/zmap/zlint/v3/lints/cabf_ev"
	_ "github.com/zmap/zlint/v3/lints/chrome"
	_ "github.com/zmap/zlint/v3/lints/community"
	_ "github.com/zmap/zlint/v3/lints/mozilla"
	_ "github.com/zmap/zlint/v3/lints/rfc"
	"github.com/zmap/zlint/v3/util"
)

// The lint levels, by the word a profile uses.
const (
	lintRFC  = "rfc"  // the IETF's rules, for every certificate
	lintCABF = "cabf" // and the CA/Browser Forum's and the root programs', for publicly trusted ones
)

func levelSources(level string) lint.SourceList {
	rfc := lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6960, lint.RFC6962, lint.RFC8813}
	if level == lintRFC {
		return rfc
	}
	return append(rfc, lint.CABFBaselineRequirements, lint.CABFEVGuidelines, lint.MozillaRootStorePolicy,
		lint.AppleRootStorePolicy, lint.ChromeRootStorePolicy, lint.Community)
}

// linter runs one level's lints. It is immutable and safe for concurrent use.
type linter struct {
	lints  []*lint.CertificateLint
	config lint.Configuration // empty: every lint as its authors set it
}

// newLinters chooses the lints of both levels, once: choosing costs far more than running them.
func newLinters() (map[string]*linter, error) {
	linters := map[string]*linter{}
	for _, level := range []string{lintRFC, lintCABF} {
		registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: levelSources(level)})
		if err != nil {
			return nil, fmt.Errorf("ca: choosing the lints of level %s: %w", level, err)
		}
		l := &linter{lints: registry.CertificateLints().Lints(), config: lint.NewEmptyConfig()}
		if len(l.lints) == 0 {
			return nil, fmt.Errorf("ca: there are no lints of level %s", level)
		}
		linters[level] = l
	}
	return linters, nil
}

// lintError says which lint refused a certificate. It is the cause in the log, not what a client sees.
type lintError struct {
	Name   string // zlint's name, or "gatehouse_…" for an own lint
	Detail string
}

func (e *lintError) Error() string { return e.Name + ": " + e.Detail }

// run holds a certificate, whose signature may be a placeholder, to every lint of the level. It returns a *lintError for
// the first error or fatal result; notices and warnings pass, as they name what is allowed but unusual.
//
// The library's own loop builds a map of results with every lint's description; running the chosen lints directly, with
// the framework's filters applied here, gives the same verdict at a fifth of the cost (TestLinterAgreesWithZlint).
func (l *linter) run(der []byte) error {
	cert, err := zx509.ParseCertificate(der)
	if err != nil {
		return &lintError{"parse", err.Error()}
	}
	return l.check(cert)
}

func (l *linter) check(cert *zx509.Certificate) (refusal error) {
	var current *lint.CertificateLint
	defer func() {
		if v := recover(); v != nil { // zlint treats a lint's panic as a fatal result
			refusal = &lintError{current.Name, fmt.Sprint("the lint panicked: ", v)}
		}
	}()
	serverAuth := util.IsServerAuthCert(cert)
	for _, current = range l.lints {
		if current.Source == lint.CABFBaselineRequirements && !serverAuth && !current.OverrideFrameworkFilter {
			continue
		}
		if !effective(&current.LintMetadata, cert.NotBefore) {
			continue
		}
		impl := current.Lint()
		if _, ok := impl.(lint.Configurable); ok {
			if err := l.config.MaybeConfigure(impl, current.Name); err != nil {
				return &lintError{current.Name, err.Error()}
			}
		}
		if !impl.CheckApplies(cert) {
			continue
		}
		if res := impl.Execute(cert); res.Status >= lint.Error {
			return &lintError{current.Name, res.Details + " (" + current.Citation + ")"}
		}
	}
	return nil
}

// effective reports whether a lint's rule is in force for a certificate that begins at a time.
func effective(m *lint.LintMetadata, at time.Time) bool {
	return (m.EffectiveDate.IsZero() || !at.Before(m.EffectiveDate)) &&
		(m.IneffectiveDate.IsZero() || at.Before(m.IneffectiveDate))
}
