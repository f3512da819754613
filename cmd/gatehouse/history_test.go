package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// history is a client that can go on after its gateway died, and what it was told.
type history struct {
	*world
	key     *ecdsa.PrivateKey // of the account
	certKey *ecdsa.PrivateKey
	name    string
	http    *http.Client // nil: a new one for each gateway

	account  string // URL, once acknowledged
	order    string // URL, once acknowledged
	ordered  time.Time
	authz    string   // URL, once acknowledged as valid
	der      []byte   // once downloaded
	revoked  bool     // once acknowledged
	finished string   // the order's URL once it was seen valid
	nonces   []string // that were accepted
}

func newHistory(w *world) *history {
	h := &history{world: w, name: fmt.Sprintf("h%d.example.com", nextPort.Add(1))}
	for _, key := range []**ecdsa.PrivateKey{&h.key, &h.certKey} {
		var err error
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			w.t.Fatal(err)
		}
	}
	return h
}

// client is made anew for every gateway, as a client's process would be.
func (h *history) client(i *instance) *acme.Client {
	c := h.http
	if c == nil {
		c = i.client()
	}
	return &acme.Client{
		Key: h.key, DirectoryURL: i.directory,
		HTTPClient: &http.Client{Transport: &nonceLog{RoundTripper: c.Transport, h: h}, Timeout: c.Timeout},
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > 5 {
				return -1
			}
			return 50 * time.Millisecond
		},
	}
}

// nonceLog remembers the nonces that were accepted.
type nonceLog struct {
	http.RoundTripper
	h *history
}

func (l *nonceLog) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode < http.StatusMultipleChoices && r.GetBody != nil {
		body, err := r.GetBody()
		must(l.h.t, err)
		text, err := io.ReadAll(body)
		must(l.h.t, err)
		var header struct{ Nonce string }
		must(l.h.t, json.Unmarshal(protectedHeader(l.h.t, text), &header))
		l.h.nonces = append(l.h.nonces, header.Nonce)
	}
	return resp, err
}

// advance does what is left: register, order, validate, finalize, download, revoke, and see the CRL.
func (h *history) advance(ctx context.Context, i *instance, answers *testca.HTTP) error {
	c := h.client(i)
	if err := h.register(ctx, c); err != nil {
		return err
	}
	if h.order == "" && h.der == nil {
		o, err := c.AuthorizeOrder(ctx, acme.DomainIDs(h.name))
		if err != nil {
			return fmt.Errorf("ordering: %w", err)
		}
		h.order, h.ordered = o.URI, time.Now()
	}
	if h.order != "" {
		if err := h.obtain(ctx, c, answers); err != nil {
			return err
		}
	}
	if err := c.RevokeCert(ctx, nil, h.der, acme.CRLReasonSuperseded); err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	h.revoked = true
	return h.seeRevoked(ctx)
}

// register makes the account, or asks for the one there is.
func (h *history) register(ctx context.Context, c *acme.Client) error {
	if h.account == "" {
		account, err := c.Register(ctx, &acme.Account{Contact: []string{"mailto:ops@example.com"}}, acme.AcceptTOS)
		if err == nil {
			h.account = account.URI
			return nil
		}
		if !errors.Is(err, acme.ErrAccountAlreadyExists) {
			return fmt.Errorf("registering: %w", err)
		}
	}
	account, err := c.GetReg(ctx, "")
	if err != nil {
		return fmt.Errorf("asking for the account: %w", err)
	}
	if h.account != "" && h.account != account.URI {
		h.t.Errorf("the account was %s and is %s", h.account, account.URI)
	}
	h.account = account.URI
	return nil
}

// orderEnded says that an order came to an end without a certificate.
type orderEnded struct {
	status string
	why    error
}

func (e *orderEnded) Error() string { return fmt.Sprintf("the order is %s: %v", e.status, e.why) }

// obtain brings the order, from wherever it stands, to a downloaded certificate.
func (h *history) obtain(ctx context.Context, c *acme.Client, answers *testca.HTTP) error {
	for {
		o, err := c.GetOrder(ctx, h.order)
		if err != nil {
			return fmt.Errorf("reading the order: %w", err)
		}
		if h.finished != "" && o.Status != acme.StatusValid {
			h.t.Errorf("the order was valid and is %s", o.Status)
		}
		switch o.Status {
		case acme.StatusPending:
			err = h.validate(ctx, c, o.AuthzURLs[0], answers)
		case acme.StatusReady:
			var csr []byte
			if csr, err = testca.CSR(h.certKey, h.name); err == nil {
				_, _, err = c.CreateOrderCert(ctx, o.FinalizeURL, csr, true)
			}
		case acme.StatusProcessing:
			_, err = c.WaitOrder(ctx, h.order)
		case acme.StatusValid:
			h.finished = h.order
			chain, err := c.FetchCert(ctx, o.CertURL, true)
			if err != nil {
				return fmt.Errorf("downloading: %w", err)
			}
			if h.der != nil && !bytes.Equal(h.der, chain[0]) {
				h.t.Error("another certificate was downloaded than before the crash")
			}
			h.der = chain[0]
			return nil
		default:
			return &orderEnded{o.Status, o.Error}
		}
		if err != nil {
			return fmt.Errorf("from %s: %w", o.Status, err)
		}
	}
}

func (h *history) validate(ctx context.Context, c *acme.Client, url string, answers *testca.HTTP) error {
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if h.authz != "" && authz.Status != acme.StatusValid {
		h.t.Errorf("the authorization was valid and is %s", authz.Status)
	}
	n := slices.IndexFunc(authz.Challenges, func(ch *acme.Challenge) bool { return ch.Type == "http-01" })
	if n < 0 {
		return fmt.Errorf("%s offers no http-01", url)
	}
	challenge := authz.Challenges[n]
	answer, err := c.HTTP01ChallengeResponse(challenge.Token)
	if err != nil {
		return err
	}
	answers.Set(challenge.Token, answer)
	if challenge.Status == acme.StatusPending {
		if _, err := c.Accept(ctx, challenge); err != nil {
			return err
		}
	}
	if _, err := c.WaitAuthorization(ctx, url); err != nil {
		return err
	}
	h.authz = url
	return nil
}

// seeRevoked fetches the CRL until it lists the certificate.
func (h *history) seeRevoked(ctx context.Context) error {
	leaf, err := x509.ParseCertificate(h.der)
	if err != nil {
		return err
	}
	for {
		der, err := fetch(ctx, leaf.CRLDistributionPoints[0])
		if err != nil {
			return err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the CRL does not list %x", leaf.SerialNumber)
		}
	}
}

// checkNonces uses used nonces again, which must be refused (invariant 17).
func (h *history) checkNonces(ctx context.Context, i *instance) {
	h.t.Helper()
	for _, nonce := range h.nonces[:min(3, len(h.nonces))] {
		body := signedBody(h.t, h.key, h.account, nonce, h.account, nil)
		resp, err := i.client().Post(h.account, "application/jose+json", bytes.NewReader(body))
		if err != nil {
			h.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			h.t.Errorf("a used nonce was answered %s", resp.Status)
		}
	}
}
