package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// shortLived is the life below which a certificate is renewed earlier: a failed attempt leaves little time for others.
	shortLived = 10 * 24 * time.Hour
	// leastWindow leaves clients, which choose among whole seconds, a choice (RFC 9773, 4.2).
	leastWindow = 2 * time.Second
	// revokedBack is how far before the revocation the window of a revoked certificate ends. It is more than a client's
	// clock is usually slow, so that the window is in the past for it, too (RFC 9773, 4.2).
	revokedBack = time.Hour
	// Clients ask again after a fraction of the certificate's life, so that each asks some times before its window. Shorter
	// than the least and longer than the most is of no use: RFC 9773, 4.3.2 lets clients hold it to a minute and a day.
	pollsPerLife = 24
	leastPoll    = time.Minute
	mostPoll     = 6 * time.Hour
	// suggestedPoll is the most while an operator's word stands: it may be taken back, or become more urgent.
	suggestedPoll = time.Hour
	// renewalCache is how long a cache may answer instead of us: what a revocation takes at most to be seen by a client that
	// asks.
	renewalCache = 5 * time.Minute
)

// wireRenewalInfo is RFC 9773, 4.2.
type wireRenewalInfo struct {
	SuggestedWindow wireWindow `json:"suggestedWindow"`
	ExplanationURL  string     `json:"explanationURL,omitempty"`
}

type wireWindow struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// window is when a certificate should be renewed. Its end is after its start.
type window struct{ start, end time.Time }

// renewalInfo says when a certificate should be renewed (RFC 9773, 4.1 and 4.2). Anybody may ask: the answer follows from
// what stands in the certificate and on the CRL. It costs one read, and none for an issuer that is not ours or an address
// that asks too often.
func (s *Server) renewalInfo(ctx context.Context, req *signed) (*reply, error) {
	id, err := parseCertID(req.target.certID)
	if err != nil {
		return nil, err
	}
	var claims []claim
	if req.method != "" { // a signed request has paid already
		claims = addressClaims(LimitAddressRenewalInfo, req.address, s.Limits.AddressRenewalInfo, "questions for renewal information from ")
	}
	c, err := s.identified(ctx, id, claims)
	if err != nil {
		return nil, err
	}
	w := suggestedWindow(c)
	rep := &reply{
		value: &wireRenewalInfo{
			SuggestedWindow: wireWindow{Start: w.start.UTC().Format(time.RFC3339), End: w.end.UTC().Format(time.RFC3339)},
			ExplanationURL:  explanation(c),
		},
		retryAfter: pollInterval(c), // RFC 9773, 4.3
	}
	if req.method != "" { // a signed request is answered for its sender, with a nonce
		rep.cacheFor = min(renewalCache, rep.retryAfter)
	}
	return rep, nil
}

// identified reads the certificate with an identifier, for the claims. A serial that was never released is as absent as an
// unknown one.
func (s *Server) identified(ctx context.Context, id certID, claims []claim) (*ca.Certificate, error) {
	if err := s.known(claims); err != nil {
		return nil, err
	}
	for _, issuer := range s.issuersOf(id.aki) {
		found, err := s.reread(ctx, Admission{Certificate: &CertificateID{Issuer: issuer, Serial: id.serial}, Takes: takes(claims)})
		if err != nil {
			return nil, s.refused(claims, err)
		}
		claims = nil // one question costs once
		if c := found.Certificate; c != nil && c.State == ca.Issued {
			return c, nil
		}
	}
	return nil, problem.New(problem.NotFound, "no certificate with this identifier was issued here")
}

// suggestedWindow is from two thirds to three quarters of a certificate's life, for a short-lived one from a half to two
// thirds. A revoked certificate's is in the past: renew now. An operator's word makes it earlier, never later.
func suggestedWindow(c *ca.Certificate) window {
	if c.Revocation != nil {
		end := c.Revocation.At.Add(-revokedBack)
		return window{end.Add(-time.Hour), end}
	}
	start, life := usableLife(c)
	first, last := life*2/3, life*3/4
	if life < shortLived {
		first, last = life/2, life*2/3
	}
	w := window{start.Add(first).Truncate(time.Second), start.Add(last).Truncate(time.Second)}
	if r := c.Renewal; r.Stands() { // each end by itself: a window that has begun may still be open for a week
		w = window{earlier(w.start, r.Start), earlier(w.end, r.End)}
	}
	if least := w.start.Add(leastWindow); w.end.Before(least) {
		w.end = least
	}
	return w
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// explanation is the page that an operator named for a renewal, also of a certificate that was revoked since.
func explanation(c *ca.Certificate) string {
	if c.Renewal.Stands() {
		return c.Renewal.Explanation
	}
	return ""
}

// usableLife is from when, and for how long, a certificate can be used. What of its validity lies before its issuance
// served nobody: a certificate that is mostly backdated would otherwise be renewed the moment it was issued.
func usableLife(c *ca.Certificate) (start time.Time, life time.Duration) {
	start = c.NotBefore
	if c.Issued.After(start) {
		start = c.Issued
	}
	return start, max(0, c.NotAfter.Sub(start))
}

func pollInterval(c *ca.Certificate) time.Duration {
	_, life := usableLife(c)
	most := mostPoll
	if c.Renewal.Stands() {
		most = suggestedPoll
	}
	return min(max(life/pollsPerLife, leastPoll), most)
}
