package ca

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Defaults and limits of an [Issuer].
const (
	DefaultMaxConcurrent = 16
	DefaultSignTimeout   = 10 * time.Second
	// MaxSignTimeout keeps a whole issuance (a store timeout before, the signing, a store timeout after) well below the
	// age at which the sweep closes an intent and the registration authority's one-minute lease.
	MaxSignTimeout = 30 * time.Second

	pendingPerSlot = 32
	minRSABits     = 2048
)

var issuerName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Issuer is one signing key with its certificate chain. Certificates in it must not be changed after [New].
type Issuer struct {
	Name  string              // [a-z0-9-]{1,40}: in profiles, records, URLs and the journal
	Chain []*x509.Certificate // the issuer's own certificate first, each following one certifying it; the root may be last
	// Alternates are other chains for the same key and name, each with a certificate of the issuer first: another one, such as
	// a cross-certificate, or the same one below other certificates. Clients may choose among them (RFC 8555, 7.4.2).
	Alternates [][]*x509.Certificate
	Backend    Backend
	// CRLURL and IssuerURL are where publishing serves the list and the issuer's certificate: the certificate's CRL
	// distribution point (RFC 5280, 4.2.1.13) and caIssuers access (4.2.2.1). Plain http; empty leaves the extension out.
	CRLURL    string
	IssuerURL string
	// MaxConcurrent bounds calls of the back end at one time; zero is DefaultMaxConcurrent.
	MaxConcurrent int
	// MaxPending bounds issuances that are anywhere between policy and record; more are refused before anything is
	// recorded. Zero is 32 times MaxConcurrent.
	MaxPending int
	// SignTimeout bounds one signature, including the wait for a slot; zero is DefaultSignTimeout, at most MaxSignTimeout.
	SignTimeout time.Duration
}

// issuer is an Issuer that passed its checks, with what is derived from it once.
type issuer struct {
	Issuer
	cert      *x509.Certificate
	algorithm x509.SignatureAlgorithm
	chainPEMs [][]byte // of Chain, then of Alternates
	pool      *pool
}

// newIssuer checks an issuer and completes it. Errors say what to change.
func newIssuer(i Issuer, now time.Time, log *slog.Logger) (*issuer, error) {
	if !issuerName.MatchString(i.Name) {
		return nil, fmt.Errorf("ca: issuer name %q: use 1 to 40 of a-z, 0-9 and '-'", i.Name)
	}
	fail := func(format string, args ...any) (*issuer, error) {
		return nil, fmt.Errorf("ca: issuer %s: "+format, append([]any{i.Name}, args...)...)
	}
	if i.Backend == nil {
		return fail("it has no back end")
	}
	if err := checkChain(i.Chain, now); err != nil {
		return fail("%w", err)
	}
	chainPEMs, err := encodeChains(i, now)
	if err != nil {
		return fail("%w", err)
	}
	for _, u := range []string{i.CRLURL, i.IssuerURL} {
		if err := checkURL(u); err != nil {
			return fail("%w", err)
		}
	}
	if i.MaxConcurrent < 0 || i.MaxPending < 0 || i.SignTimeout < 0 || i.SignTimeout > MaxSignTimeout {
		return fail("concurrency cannot be negative, and the signing timeout must be between 0 and %s", MaxSignTimeout)
	}
	i.MaxConcurrent = cmp.Or(i.MaxConcurrent, DefaultMaxConcurrent)
	i.MaxPending = cmp.Or(i.MaxPending, pendingPerSlot*i.MaxConcurrent)
	i.SignTimeout = cmp.Or(i.SignTimeout, DefaultSignTimeout)

	cert := i.Chain[0]
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(i.Backend.Public()) {
		return fail("the back end's key does not belong to the certificate of %q; name the key that it certifies", cert.Subject)
	}
	algorithm, err := algorithmFor(cert.PublicKey, i.Backend)
	if err != nil {
		return fail("%w", err)
	}
	return &issuer{
		Issuer: i, cert: cert, algorithm: algorithm, chainPEMs: chainPEMs,
		pool: newPool(i.Name, i.MaxConcurrent, i.MaxPending, i.SignTimeout, log),
	}, nil
}

// admit lets an issuance begin, unless it is known that the issuer cannot sign it: then nothing is recorded, and no serial
// ends on the CRL for nothing. It returns what must be called in the end.
func (is *issuer) admit() (leave func(), err error) {
	if r, ok := is.Backend.(readier); ok {
		if err := r.Ready(); err != nil {
			return nil, problem.Wrap(err, problem.Unavailable, "the issuer %s cannot sign now", is.Name).After(comeBack)
		}
	}
	return is.pool.admit()
}

// checkChain holds a chain to what relying parties will: RFC 5280, 6.1.3 (a) and 6.1.4 (k) to (n).
func checkChain(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("its chain is empty; the issuer's own certificate comes first")
	}
	for n, c := range chain {
		switch {
		case c == nil:
			return fmt.Errorf("certificate %d of its chain is nil", n+1)
		case !c.BasicConstraintsValid || !c.IsCA: // RFC 5280, 4.2.1.9
			return fmt.Errorf("%q is not a CA certificate (basicConstraints CA:TRUE is missing)", c.Subject)
		case c.KeyUsage&x509.KeyUsageCertSign == 0: // RFC 5280, 4.2.1.3
			return fmt.Errorf("%q may not sign certificates (keyUsage keyCertSign is missing)", c.Subject)
		case now.Before(c.NotBefore):
			return fmt.Errorf("%q is not valid before %s; check the clock", c.Subject, c.NotBefore.Format(time.RFC3339))
		case now.After(c.NotAfter):
			return fmt.Errorf("%q expired at %s; install its successor", c.Subject, c.NotAfter.Format(time.RFC3339))
		case n > 0 && c.MaxPathLen >= 0 && (c.MaxPathLen > 0 || c.MaxPathLenZero) && c.MaxPathLen < n: // RFC 5280, 4.2.1.9
			return fmt.Errorf("%q allows %d CA certificates below it (pathLenConstraint), the chain has %d", c.Subject, c.MaxPathLen, n)
		}
		if n == 0 {
			continue
		}
		if err := chain[n-1].CheckSignatureFrom(c); err != nil {
			return fmt.Errorf("%q is not signed by %q, which follows it in the chain: %w", chain[n-1].Subject, c.Subject, err)
		}
		if !bytes.Equal(chain[n-1].RawIssuer, c.RawSubject) { // RFC 5280, 6.1.3 (a)(4)
			return fmt.Errorf("the issuer named in %q is not %q, which follows it in the chain", chain[n-1].Subject, c.Subject)
		}
	}
	cert := chain[0]
	switch {
	case cert.KeyUsage&x509.KeyUsageCRLSign == 0: // RFC 5280, 4.2.1.3: without it nothing it issues could be revoked
		return fmt.Errorf("%q may not sign revocation lists (keyUsage cRLSign is missing)", cert.Subject)
	case len(cert.SubjectKeyId) == 0: // RFC 5280, 4.2.1.2: required of a CA, and the source of authorityKeyIdentifier
		return fmt.Errorf("%q has no subjectKeyIdentifier", cert.Subject)
	case len(cert.RawSubject) <= 2: // RFC 5280, 4.1.2.4: the issuer field must be a non-empty name
		return errors.New("its certificate has an empty subject")
	}
	return nil
}

// checkURL accepts an empty one and an absolute http URL: RFC 5280, 4.2.1.13 and 4.2.2.1 want something every relying
// party can fetch, and a list fetched over https could need itself to verify (section 8).
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not an absolute http URL", s)
	}
	return nil
}

// algorithmFor is the signature algorithm of everything a key signs: the one the back end is bound to, else the usual one
// for the key (for curves, the hash of the same strength).
func algorithmFor(pub crypto.PublicKey, b Backend) (x509.SignatureAlgorithm, error) {
	chosen := x509.UnknownSignatureAlgorithm
	if c, ok := b.(algorithmChooser); ok {
		chosen = c.SignatureAlgorithm()
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return 0, fmt.Errorf("an RSA key of %d bits is too small to issue with; use at least %d", k.N.BitLen(), minRSABits)
		}
		return cmp.Or(chosen, x509.SHA256WithRSA), nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return cmp.Or(chosen, x509.ECDSAWithSHA256), nil
		case elliptic.P384():
			return cmp.Or(chosen, x509.ECDSAWithSHA384), nil
		case elliptic.P521():
			return cmp.Or(chosen, x509.ECDSAWithSHA512), nil
		}
		return 0, fmt.Errorf("curve %s is not one to issue with; use P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return cmp.Or(chosen, x509.PureEd25519), nil
	}
	return 0, fmt.Errorf("a key of type %T is not one to issue with; use RSA, ECDSA or Ed25519", pub)
}

// encodeChain is what follows a leaf in a download (RFC 8555, 9.1): the chain without a root, which a relying party has
// already, unless the issuer is itself the root: some clients refuse a download of a single certificate.
func encodeChain(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for n, c := range chain {
		if n > 0 && bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil {
			break
		}
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a bytes.Buffer does not fail
	}
	return out.Bytes()
}

// CheckIssuer reports what [New] would refuse about an issuer, without making anything of it.
func CheckIssuer(i Issuer, now time.Time) error {
	_, err := newIssuer(i, now, slog.New(slog.DiscardHandler))
	return err
}
