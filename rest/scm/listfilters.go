package scm

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// filter is a parameter of the list that selects.
type filter struct {
	name    string
	limit   int  // characters
	narrows bool // an index answers it
	// read adds it to a query. never says that no certificate can be like that.
	read func(c *call, text string, q *ra.Query) (never bool, err error)
}

// filters are all filters of SCM's. Text is compared whole and without regard to case, with what details shows of a certificate: a
// program that looks for a name before it acts on what it finds must not be given others. Where details shows a list, each
// element of the filter's comma list must be in it.
func filters() []filter {
	return []filter{
		{"orgId", 20, true, (*call).filterOrg},
		{"commonName", 253, true, func(_ *call, text string, q *ra.Query) (bool, error) {
			q.CommonName = text
			return false, nil
		}},
		{"subjectAlternativeName", 253, true, func(_ *call, text string, q *ra.Query) (bool, error) {
			q.Name = text
			return false, nil
		}},
		{"serialNumber", 128, true, func(_ *call, text string, q *ra.Query) (_ bool, err error) {
			if q.Serial, err = ra.ParseSerial(text); err != nil {
				return false, errSerial
			}
			return false, nil
		}},
		{"status", 32, true, func(_ *call, text string, q *ra.Query) (never bool, err error) {
			q.Status, never, err = parseStatus(text)
			return never, err
		}},
		{"sslTypeId", 20, true, (*call).filterType},
		{"requester", 128, true, (*call).filterRequester},
		{"externalRequester", 512, false, filterBy(false, func(e *ra.Enrollment, _ *x509.Certificate) []string { return e.ExternalRequesters })},
		{"vendor", 128, false, filterWhole(func(cert *x509.Certificate) []string { return []string{vendorOf(cert)} })},
		{"issuer", 1024, false, filterWhole(func(cert *x509.Certificate) []string {
			return []string{ra.DistinguishedName(cert.Issuer), cert.Issuer.CommonName}
		})},
		{"signatureAlgorithm", 32, false, filterWhole(func(cert *x509.Certificate) []string {
			return []string{signatureName(cert.SignatureAlgorithm)}
		})},
		{"keyAlgorithm", 32, false, filterKey(func(d *details) []string { return []string{d.KeyAlgorithm} })},
		{"keyParam", 32, false, filterKey(func(d *details) []string {
			_, parameter, _ := strings.Cut(d.KeyType, " - ")
			return []string{parameter, d.KeyType}
		})},
		{"keySize", 20, false, func(c *call, text string, q *ra.Query) (bool, error) {
			size, err := rest.QueryInt(c.query, "keySize", 1, maxInt32)
			if err != nil {
				return false, err
			}
			return filterKey(func(d *details) []string { return []string{strconv.Itoa(d.KeySize)} })(c, strconv.FormatInt(size, 10), q)
		}},
		{"sha1Hash", 40, false, filterHash("sha1Hash", 40, func(cert *x509.Certificate) []byte {
			sum := sha1.Sum(cert.Raw)
			return sum[:]
		})},
		{"md5Hash", 32, false, filterHash("md5Hash", 32, func(cert *x509.Certificate) []byte {
			sum := md5.Sum(cert.Raw)
			return sum[:]
		})},
		{"sha256Hash", 64, false, (*call).filterSHA256},
		{"keyUsage", 256, false, filterBy(true, func(_ *ra.Enrollment, cert *x509.Certificate) []string { return keyUsages(cert.KeyUsage) })},
		{"extendedKeyUsage", 512, false, filterBy(true, func(_ *ra.Enrollment, cert *x509.Certificate) []string {
			return append(extKeyUsages(cert), extKeyUsageOIDs(cert)...)
		})},
		{"installStatus", 32, false, filterInstall},
		{"renewalStatus", 32, false, filterRenewal},
		{"requestedVia", 32, false, filterVia},
		{"discoveryStatus", 32, false, filterDiscovery},
	}
}

func (c *call) filterOrg(_ string, q *ra.Query) (bool, error) {
	number, err := rest.QueryInt(c.query, "orgId", 1, maxInt32)
	if err == nil {
		q.Org, err = c.organisation(number)
	}
	return false, err
}

func (c *call) filterType(_ string, q *ra.Query) (never bool, err error) {
	number, err := rest.QueryInt(c.query, "sslTypeId", 1, maxInt32)
	if err != nil {
		return false, err
	}
	p, ok := c.s.profileNumber(number)
	if ok {
		q.Profile = p.Name()
	}
	return !ok, nil
}

// filterRequester reads what details shows of a requester: a login, or of whoever has none, as an ACME account, the principal.
func (c *call) filterRequester(text string, q *ra.Query) (never bool, err error) {
	if q.Requester, err = c.s.Principal(c.ctx, c.caller, text); err == nil && q.Requester == "" {
		q.Requester = text
	}
	return false, err
}

// where adds a condition to a query.
func where(q *ra.Query, certificate bool, holds func(*ra.Enrollment, *x509.Certificate) bool) {
	q.Where = append(q.Where, ra.Condition{Certificate: certificate, Holds: func(e *ra.Enrollment, cert *x509.Certificate) bool {
		return (cert != nil || !certificate) && holds(e, cert)
	}})
}

// filterBy makes a filter by a comma list, each element of which must be among the words of a certificate.
func filterBy(certificate bool, words func(*ra.Enrollment, *x509.Certificate) []string) func(*call, string, *ra.Query) (bool, error) {
	return func(_ *call, text string, q *ra.Query) (bool, error) {
		where(q, certificate, func(e *ra.Enrollment, cert *x509.Certificate) bool {
			have := words(e, cert)
			return among(have, text) || !slices.ContainsFunc(strings.Split(text, ","), func(element string) bool { return !among(have, strings.TrimSpace(element)) })
		})
		return false, nil
	}
}

// filterWhole makes a filter by one of the words of a certificate.
func filterWhole(words func(*x509.Certificate) []string) func(*call, string, *ra.Query) (bool, error) {
	return func(_ *call, text string, q *ra.Query) (bool, error) {
		where(q, true, func(_ *ra.Enrollment, cert *x509.Certificate) bool { return among(words(cert), text) })
		return false, nil
	}
}

// filterKey makes a filter by what details says of the key.
func filterKey(words func(*details) []string) func(*call, string, *ra.Query) (bool, error) {
	return filterWhole(func(cert *x509.Certificate) []string {
		var d details
		d.key(cert.PublicKey)
		return words(&d)
	})
}

// among reports whether one of the words is a text, without regard to case.
func among(words []string, text string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(word, text) })
}

// filterHash makes a filter by a digest of the certificate.
func filterHash(name string, digits int, sum func(*x509.Certificate) []byte) func(*call, string, *ra.Query) (bool, error) {
	return func(_ *call, text string, q *ra.Query) (bool, error) {
		want, err := parseHash(name, text, digits)
		if err == nil {
			where(q, true, func(_ *ra.Enrollment, cert *x509.Certificate) bool { return slices.Equal(sum(cert), want) })
		}
		return false, err
	}
}

// filterSHA256 is by the digest that is on record, so that no certificate is read.
func (c *call) filterSHA256(text string, q *ra.Query) (bool, error) {
	want, err := parseHash("sha256Hash", text, 64)
	if err == nil {
		where(q, false, func(e *ra.Enrollment, _ *x509.Certificate) bool {
			return !e.Issued.IsZero() && slices.Equal(e.Fingerprint[:], want)
		})
	}
	return false, err
}

func parseHash(name, text string, digits int) ([]byte, error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(text) != digits {
		return nil, wrongValue("%s: write it as %d hexadecimal digits", name, digits)
	}
	return sum, nil
}

// extKeyUsageOIDs are the object identifiers of all extended key usages.
func extKeyUsageOIDs(cert *x509.Certificate) (list []string) {
	for _, u := range cert.ExtKeyUsage {
		list = append(list, u.OID().String())
	}
	return list
}
