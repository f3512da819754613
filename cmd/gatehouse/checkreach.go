package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// reachWithin bounds one question to one URL.
const reachWithin = 5 * time.Second

// checkReached asks the URLs that the gateway writes into its answers and certificates, by this machine's names and
// routes, and whether what answers is this gateway or one of its deployment. Without a gateway nothing can answer, and only
// the host names are looked up.
func checkReached(ctx context.Context, s *settings, serving bool) []checkResult {
	r := &reacher{settings: s, serving: serving, roots: trustedRoots(s)}
	r.client = &http.Client{
		Timeout:       reachWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		},
	}
	var out []checkResult
	for _, u := range s.publicURLs {
		out = append(out, r.check(ctx, "public_urls", u, r.directory))
	}
	return append(out, r.check(ctx, "http.url", s.httpURL, r.published))
}

// trustedRoots are the machine's and those of the issuers.
func trustedRoots(s *settings) *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, i := range s.issuers {
		for _, chain := range append([][]*x509.Certificate{i.Chain}, i.Alternates...) {
			pool.AddCert(chain[len(chain)-1])
		}
	}
	return pool
}

// reacher asks URLs.
type reacher struct {
	*settings
	serving bool
	roots   *x509.CertPool
	client  *http.Client
}

func (r *reacher) check(ctx context.Context, name, text string, ask func(context.Context, string) error) checkResult {
	u, err := url.Parse(text)
	if err != nil {
		return checkResult{name, false, err.Error()}
	}
	lookup, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(lookup, u.Hostname())
	switch {
	case !r.serving && err != nil:
		return checkResult{name, true, fmt.Sprintf("%s: no gateway is running here, so it was not asked; its host is not known to this machine's resolver yet", text)}
	case !r.serving:
		return checkResult{name, true, fmt.Sprintf("%s: no gateway is running here, so it was not asked; its host is %s", text, strings.Join(addresses, ", "))}
	case err != nil:
		return checkResult{name, false, fmt.Sprintf("%s: this machine's resolver does not know the host; add it to the DNS, or correct %s", text, name)}
	}
	if err := ask(ctx, text); err != nil {
		return checkResult{name, false, fmt.Sprintf("%s: %s", text, explainReach(err, name))}
	}
	return checkResult{name, true, text + " answers"}
}

// directory wants the ACME directory of this deployment, which begins with the first public URL.
func (r *reacher) directory(ctx context.Context, base string) error {
	body, err := r.get(ctx, base+"/acme/directory")
	if err != nil {
		return err
	}
	var directory struct {
		NewNonce string `json:"newNonce"`
	}
	if json.Unmarshal(body, &directory) != nil || !strings.HasPrefix(directory.NewNonce, r.publicURLs[0]+"/") {
		return errors.New("something else than a gateway with these public_urls answers; look at what stands in front of it, or at its configuration")
	}
	return nil
}

// published wants each issuer's list and certificate.
func (r *reacher) published(ctx context.Context, _ string) error {
	for _, i := range r.issuers {
		if err := r.publishedBy(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (r *reacher) publishedBy(ctx context.Context, i ca.Issuer) error {
	body, err := r.get(ctx, i.CRLURL)
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(body)
	switch {
	case err != nil:
		return fmt.Errorf("what answers for the CRL of %s is none; something else stands there", i.Name)
	case list.CheckSignatureFrom(i.Chain[0]) != nil:
		return fmt.Errorf("the CRL of %s is another issuer's; another gateway stands there", i.Name)
	case time.Now().After(list.NextUpdate):
		return fmt.Errorf("the CRL of %s is out of date since %s; /readyz and the gateway's log say why", i.Name, day(list.NextUpdate))
	}
	body, err = r.get(ctx, i.IssuerURL)
	if err == nil && !bytes.Equal(body, i.Chain[0].Raw) {
		err = fmt.Errorf("the certificate that is served for issuer %s is another; another gateway stands there", i.Name)
	}
	return err
}

// get reads what a URL serves, up to a size that no list here reaches.
func (r *reacher) get(ctx context.Context, u string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s; something else stands there, or the gateway is not ready", u, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 256<<20))
}

// explainReach says what to do about what a client would meet.
func explainReach(err error, name string) string {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate there is not for %s; add it to tls.names, or correct %s", e.Host, name)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate there is trusted neither by this machine nor by way of the configured issuers"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return fmt.Sprintf("the certificate there is not valid: %v", e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Sprintf("nothing can be reached there (%v); open it in the firewall or point it to the gateway's listener, or correct %s", e, name)
	}
	return err.Error()
}
