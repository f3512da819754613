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

// submitTime bounds one issuance in the background. It is longer than any signing deadline.
const submitTime = 2 * time.Minute

// finalize asks for an order's certificate (RFC 8555, 7.4). A CSR that policy refuses leaves the order as it was.
func (s *Server) finalize(ctx context.Context, req *signed) (*reply, error) {
	csr, err := decodeFinalize(req)
	if err != nil {
		return nil, err
	}
	facts, err := s.Store.OrderFacts(ctx, req.order)
	if err != nil {
		return nil, err
	}
	if req.order.Status(s.Now(), facts) != StatusReady {
		return s.finalizedBefore(ctx, req.order, facts, csr)
	}
	enrollment, err := s.submit(ctx, req, facts, csr)
	switch {
	case problem.Is(err, problem.Conflict): // RFC 8555, 7.4: one order, one certificate; another request was first
		return s.lateFinalize(ctx, req, csr, err)
	case err != nil:
		return nil, err
	case enrollment == nil: // not done within FinalizeWait
		return s.stillProcessing(req.order, facts), nil
	}
	order := *req.order
	order.Enrollment, facts.Enrollment = enrollment.ID, enrollment
	return s.renderOrder(&order, facts), nil
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
}

func (f *finalizing) init() { f.byID = make(map[OrderID]*issuance) }

// leave ends an issuance, also one that panicked.
func (f *finalizing) leave(id OrderID, i *issuance) {
	if i.enrollment == nil && i.err == nil {
		i.err = errors.New("an issuance ended without an outcome")
	}
	f.mu.Lock()
	if f.byID[id] == i {
		delete(f.byID, id)
	}
	f.mu.Unlock()
	close(i.done)
}

// submit starts an issuance, or joins that of the same order and CSR, and waits for it at most FinalizeWait. A nil
// enrollment without an error means that it is still under way.
func (s *Server) submit(ctx context.Context, req *signed, facts Facts, csr *x509.CertificateRequest) (*ra.Enrollment, error) {
	i, err := s.startIssuance(req, facts, csr.Raw)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(s.FinalizeWait)
	defer timer.Stop()
	select {
	case <-i.done:
		return i.enrollment, i.err
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) startIssuance(req *signed, facts Facts, csr []byte) (*issuance, error) {
	order, f := req.order, &s.finalizing
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.byID[order.ID]; i != nil && bytes.Equal(i.csr, csr) {
		return i, nil
	}
	i := &issuance{csr: csr, done: make(chan struct{})}
	caller := req.account.Caller()
	begun := *order // the store writes into it while the answer may be reading the order
	started := s.Work.Go("acme-finalize", submitTime, func(ctx context.Context) {
		defer f.leave(order.ID, i)
		i.enrollment, i.err = s.Registrar.Submit(ctx, caller, ra.Request{
			Door: ra.DoorACME, Profile: order.Profile, ProfileHash: order.ProfileHash,
			Names: order.Names, CSR: csr, Proofs: order.proofs(facts),
			Begin: func(id ra.ID) any { return &OrderBegun{Order: &begun, Enrollment: id} },
		})
	})
	if !started {
		return nil, errStopping
	}
	if f.byID[order.ID] == nil {
		f.byID[order.ID] = i
	}
	return i, nil
}

// stillProcessing shows an order whose certificate takes longer than an answer waits.
func (s *Server) stillProcessing(o *Order, f Facts) *reply {
	rep := s.renderOrder(o, f)
	rep.value.(*wireOrder).Status = StatusProcessing
	rep.retryAfter = pollAfter
	return rep
}

// lateFinalize answers the loser of two finalize requests with what the winner made of the order.
func (s *Server) lateFinalize(ctx context.Context, req *signed, csr *x509.CertificateRequest, conflict error) (*reply, error) {
	now, err := s.reread(ctx, Admission{Order: req.order.ID})
	if err != nil {
		return nil, err
	}
	if now.Order == nil {
		return nil, errAbsent
	}
	facts, err := s.Store.OrderFacts(ctx, now.Order)
	if err != nil {
		return nil, err
	}
	if now.Order.Status(s.Now(), facts) == StatusReady {
		return nil, conflict // nobody began it: the client can try again
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
