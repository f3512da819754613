package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// renewFilesBefore is when a certificate in files should have been replaced by whoever does that.
const renewFilesBefore = 7 * 24 * time.Hour

// checkCertificate is about the listener's certificate.
func checkCertificate(s *settings, serving bool, now time.Time) checkResult {
	switch {
	case s.own != nil:
		return checkOwnCertificate(s, serving, now)
	case s.tls != nil:
		return checkTLSFiles(s, now)
	}
	return checkResult{"certificate", true, "none: the doors speak plain HTTP, for a proxy in front that ends TLS"}
}

// checkOwnCertificate looks at what the gateway issues itself.
func checkOwnCertificate(s *settings, serving bool, now time.Time) checkResult {
	o := s.own
	answer := func(ok bool, format string, args ...any) checkResult {
		return checkResult{"certificate", ok, fmt.Sprintf(format, args...)}
	}
	what := fmt.Sprintf("the gateway's own from issuer %s for %s", o.issuer.Name, strings.Join(o.texts(), ", "))
	if host := missingHost(s, o.texts(), nil); host != "" {
		return answer(false, "%s: clients that reach the gateway as %s will refuse it; add %s to tls.names", what, host, host)
	}
	if end := o.issuer.Chain[0].NotAfter; now.Add(o.profile.Validity()).After(end) {
		return answer(false, "%s would outlive its issuer, which ends at %s, and is refused; renew the issuer or shorten tls.validity", what, day(end))
	}
	pair, err := readOwnPair(ownTLSFile(s.folder))
	switch {
	case errors.Is(err, os.ErrNotExist) && serving:
		return answer(false, "%s: the running gateway has none yet; its log says why", what)
	case errors.Is(err, os.ErrNotExist):
		return answer(true, "%s: the first start issues it", what)
	case err != nil:
		return answer(!serving, "%s: %v; the next start issues another", what, err)
	case now.After(pair.Leaf.NotAfter) && serving:
		return answer(false, "%s expired at %s and was not renewed; the gateway's log says why", what, day(pair.Leaf.NotAfter))
	case now.After(pair.Leaf.NotAfter):
		return answer(true, "%s expired at %s; the next start renews it", what, day(pair.Leaf.NotAfter))
	}
	return answer(true, "%s, valid to %s, renewed from %s", what, day(pair.Leaf.NotAfter), day(renewAt(pair.Leaf)))
}

// checkTLSFiles looks at a certificate that somebody else renews.
func checkTLSFiles(s *settings, now time.Time) checkResult {
	pair, err := s.tls.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		return checkResult{"certificate", false, err.Error()}
	}
	leaf := pair.Leaf
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return checkResult{"certificate", false, fmt.Sprintf("of files, is not valid before %s; check the clock", day(leaf.NotBefore))}
	case left < 0:
		return checkResult{"certificate", false, fmt.Sprintf("of files, expired at %s; replace tls.cert and tls.key", day(leaf.NotAfter))}
	case left < renewFilesBefore:
		return checkResult{"certificate", false, fmt.Sprintf("of files, expires in %d days, at %s; replace tls.cert and tls.key", int(left.Hours()/24), day(leaf.NotAfter))}
	}
	if host := missingHost(s, nil, leaf); host != "" {
		return checkResult{"certificate", false, fmt.Sprintf("of files, is not for %s, which public_urls names; clients will refuse it", host)}
	}
	return checkResult{"certificate", true, fmt.Sprintf("of files, valid to %s", day(leaf.NotAfter))}
}

// missingHost is the first host of the https public URLs that neither the names nor the certificate cover, or "". Behind a
// proxy that ends TLS the listener's name is that proxy's business.
func missingHost(s *settings, names []string, leaf *x509.Certificate) string {
	if len(s.trustedProxies) > 0 {
		return ""
	}
	for _, text := range s.publicURLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" {
			continue
		}
		host := strings.ToLower(u.Hostname())
		if a, err := netip.ParseAddr(host); err == nil {
			host = a.String()
		}
		covered := leaf != nil && leaf.VerifyHostname(host) == nil
		for _, n := range names {
			covered = covered || n == host
		}
		if !covered {
			return host
		}
	}
	return ""
}

// checkClients is about certificates of clients.
func checkClients(s *settings) checkResult {
	detail := "not asked for"
	if s.asksClients {
		detail = "asked for at the listener; /private/api takes those that gatehouse key add has bound"
		if len(s.trustedProxies) > 0 {
			detail += "; WARNING: behind a proxy of trusted_proxies that ends TLS the certificate is the proxy's, whoever calls: bind none that a proxy has"
		}
	}
	return checkResult{"client certs", true, detail}
}
