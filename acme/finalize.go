package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// submitTime bounds one issuance in the background. It is longer than any signing deadline.
	submitTime = 2 * time.Minute
	// beginTime is how long beyond FinalizeWait an answer waits for the beginning of an issuance to be recorded. The door's
	// listener gives an answer more time than both.
	beginTime = 10 * time.Second
	// maxIssuances is how many issuances of one account may be under way in this process. One lasts longer than the request
	// that began it where the account's own name servers are slow to answer about CAA, and each has a CSR of up to 64 KiB.
	maxIssuances = 256
)

var errManyIssuances = problem.New(problem.Unavailable,
	"%d certificates of this account are being issued; finalize again when some are done", maxIssuances).After(busyAfter)

// finalize asks for an order's certificate (RFC 8555, 7.4). A CSR that policy refuses leaves the order as it was.
func (s *Server) finalize(ctx context.Context, req *signed) (*reply, error) {
	csr, err := decodeFinalize(req)
	if err != nil {
		return nil, err
	}
	thumbprint, ok := jws.ThumbprintOf(csr.PublicKey) // a key that no account can have, otherwise
	var facts Facts
	claimed := false
	if ok {
		facts, claimed, err = s.Store.FinalizeFacts(ctx, req.order, thumbprint)
	} else {
		facts, err = s.Store.OrderFacts(ctx, req.order)
	}
	if err != nil {
		return nil, err
	}
	if req.order.Status(s.Now(), facts) != StatusReady {
		return s.finalizedBefore(ctx, req.order, facts, csr)
	}
	if err := s.stillIssued(req.order); err != nil {
		return nil, err
	}
	if err := s.restrict(ctx, req); err != nil {
		return nil, err
	}
	if claimed {
		if err := s.noAccountKey(ctx, csr, thumbprint); err != nil {
			return nil, err
		}
	}
	i, err := s.startIssuance(req, facts, csr.Raw)
	if err != nil {
		return nil, err
	}
	if err := i.wait(ctx, s.FinalizeWait); err != nil {
		return nil, err
	}
	if !i.ended() {
		return s.slowFinalize(ctx, req, facts, csr, i)
	}
	return s.finalized(ctx, req, facts, csr, i)
}

// finalized answers with the outcome of an issuance.
func (s *Server) finalized(ctx context.Context, req *signed, facts Facts, csr *x509.CertificateRequest, i *issuance) (*reply, error) {
	switch {
	case problem.Is(i.err, problem.Conflict): // RFC 8555, 7.4: one order, one certificate; another request was first
		return s.recordedFinalize(ctx, req.order.ID, csr, i.err)
	case i.err != nil:
		return nil, i.err
	}
	order := *req.order
	order.Enrollment, facts.Enrollment = i.enrollment.ID, i.enrollment
	return s.renderOrder(&order, facts), nil
}

// errNotBegun is for an issuance of which nothing is recorded yet. The client may repeat its request, and joins it.
var errNotBegun = problem.New(problem.Unavailable, "the issuance could not be recorded in time; finalize again").After(busyAfter)

// slowFinalize answers while an issuance is still under way, with what is recorded. "processing" is a promise: an order
// does not go back from there to "ready" (RFC 8555, 7.1.6). So it is given only once the store has the order's enrollment,
// which is owed an outcome from then on, whatever becomes of this process. Until then an issuance may yet be refused.
func (s *Server) slowFinalize(ctx context.Context, req *signed, facts Facts, csr *x509.CertificateRequest, i *issuance) (*reply, error) {
	for waited := time.Duration(0); ; waited += pollAfter {
		rep, err := s.recordedFinalize(ctx, req.order.ID, csr, errNotBegun)
		if err != errNotBegun || waited >= beginTime {
			return rep, err
		}
		if err := i.wait(ctx, pollAfter); err != nil {
			return nil, err
		}
		if i.ended() {
			return s.finalized(ctx, req, facts, csr, i)
		}
	}
}

// decodeFinalize reads the CSR and looks at what only this door can know about it. The rest is policy's.
func decodeFinalize(req *signed) (*x509.CertificateRequest, error) {
	var in struct {
		CSR string `json:"csr"`
	}
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	der, err := decode64(in.CSR)
	if err != nil || len(der) == 0 { // RFC 8555, 7.4: base64url-encoded DER; a PEM CSR is a common mistake
		return nil, problem.New(problem.Malformed, `"csr" must be the DER of a PKCS #10 request in base64url without padding`)
	}
	if len(der) > policy.MaxCSR {
		return nil, problem.New(problem.BadCSR, "the CSR has %d bytes; at most %d are read", len(der), policy.MaxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadCSR, "the CSR cannot be read")
	}
	// RFC 8555, 11.1: who holds a certificate's key must not thereby hold the account.
	if req.key.Matches(csr.PublicKey) {
		return nil, problem.New(problem.BadCSR, "the CSR has the account's own key; make another key for the certificate")
	}
	return csr, nil
}

// noAccountKey refuses a CSR with the key of any account, as RFC 8555, 11.1 demands. That of the account that asks was
// refused before, without the store.
func (s *Server) noAccountKey(ctx context.Context, csr *x509.CertificateRequest, thumbprint string) error {
	_, err := s.Store.AccountByKey(ctx, thumbprint)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil
	case err != nil:
		return err
	case csr.CheckSignature() != nil:
		return nil // for policy to refuse: who does not have the key shall not learn that an account has it
	}
	return problem.New(problem.BadCSR, "the CSR has the key of an account; make another key for the certificate")
}

// decode64 decodes base64url as RFC 8555, 6.1 wants it: no padding, and no line breaks, which Go's decoder would skip.
func decode64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// issuance is a Submit under way in this process.
type issuance struct {
	csr        []byte
	done       chan struct{}
	enrollment *ra.Enrollment // both set before done is closed
	err        error
}

// finalizing are the issuances under way in this process, so that a client that finalizes twice at once, as some do
// after a timeout, waits for the first instead of making intents that cannot be recorded. What decides between two
// processes is the commit.
type finalizing struct {
	mu   sync.Mutex
	byID map[OrderID]*issuance
	of   map[AccountID]int // how many of an account are under way, two for one order included
}

func (f *finalizing) init() {
	f.byID, f.of = make(map[OrderID]*issuance), make(map[AccountID]int)
}

// leave ends an issuance, also one that panicked.
func (f *finalizing) leave(id OrderID, account AccountID, i *issuance) {
	if i.enrollment == nil && i.err == nil {
		i.err = errors.New("an issuance ended without an outcome")
	}
	f.mu.Lock()
	if f.byID[id] == i {
		delete(f.byID, id)
	}
	if f.of[account]--; f.of[account] == 0 {
		delete(f.of, account)
	}
	f.mu.Unlock()
	close(i.done)
}

// wait waits for the end of an issuance, at most for a while. The error is the caller's end.
func (i *issuance) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-i.done:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *issuance) ended() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

// startIssuance starts an issuance, or joins that of the same order and CSR.
func (s *Server) startIssuance(req *signed, facts Facts, csr []byte) (*issuance, error) {
	order, f := req.order, &s.finalizing
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.byID[order.ID]; i != nil && bytes.Equal(i.csr, csr) {
		return i, nil
	}
	if f.of[order.Account] >= maxIssuances {
		return nil, errManyIssuances
	}
	i := &issuance{csr: csr, done: make(chan struct{})}
	caller, restriction := req.account.Caller(), req.only.For(req.order.Names)
	begun := *order // the store writes into it while the answer may be reading the order
	started := s.Work.Go("acme-finalize", submitTime, func(ctx context.Context) {
		defer f.leave(begun.ID, begun.Account, i)
		i.enrollment, i.err = s.Registrar.Submit(ctx, caller, ra.Request{
			Door: ra.DoorACME, Profile: order.Profile, ProfileHash: order.ProfileHash,
			Names: order.Names, CSR: csr, Proofs: order.proofs(facts), Restriction: restriction, Replaces: order.replaced(), Requested: order.Requested, Holder: string(order.ID),
			Begin: func(id ra.ID) any {
				return &OrderBegun{Order: &begun, Enrollment: id, Authorizations: facts.Authorizations}
			},
		})
	})
	if !started {
		return nil, errStopping
	}
	f.of[order.Account]++
	if f.byID[order.ID] == nil {
		f.byID[order.ID] = i
	}
	return i, nil
}

// recordedFinalize answers a finalize request with what is recorded of the order: by the request itself, or by the winner
// of two. The error unbegun is for an order of which nothing is.
func (s *Server) recordedFinalize(ctx context.Context, id OrderID, csr *x509.CertificateRequest, unbegun error) (*reply, error) {
	now, err := s.reread(ctx, Admission{Order: id})
	if err != nil {
		return nil, err
	}
	if now.Order == nil {
		return nil, errAbsent
	}
	if now.Order.Enrollment == 0 {
		return nil, unbegun // the client can try again
	}
	facts, err := s.Store.OrderFacts(ctx, now.Order)
	if err != nil {
		return nil, err
	}
	return s.finalizedBefore(ctx, now.Order, facts, csr)
}

// finalizedBefore answers a finalize request for an order that is not ready: an error (RFC 8555, 7.4), unless it was
// finalized with this very key before. That client lost our answer, and is best served with the order.
func (s *Server) finalizedBefore(ctx context.Context, o *Order, f Facts, csr *x509.CertificateRequest) (*reply, error) {
	status := o.Status(s.Now(), f)
	if status == StatusProcessing || status == StatusValid {
		same, err := s.sameKey(ctx, f.Enrollment, csr)
		if err != nil {
			return nil, err
		}
		if same {
			return s.renderOrder(o, f), nil
		}
		return nil, problem.New(problem.OrderNotReady, "this order was finalized with another key; make a new order")
	}
	return nil, problem.New(problem.OrderNotReady, "this order is %s, not ready", status)
}

// sameKey reports whether an enrollment is for the CSR's key. Its own CSR is kept until there is a certificate.
func (s *Server) sameKey(ctx context.Context, e *ra.Enrollment, csr *x509.CertificateRequest) (bool, error) {
	if len(e.CSR) > 0 {
		first, err := x509.ParseCertificateRequest(e.CSR)
		if err != nil {
			return false, err
		}
		return bytes.Equal(first.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo), nil
	}
	found, err := s.reread(ctx, Admission{Certificate: &CertificateID{Issuer: e.Issuer, Serial: e.Serial}})
	if err != nil || found.Certificate == nil || len(found.Certificate.DER) == 0 {
		return false, err
	}
	leaf, err := x509.ParseCertificate(found.Certificate.DER)
	if err != nil {
		return false, err
	}
	return bytes.Equal(leaf.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo), nil
}
