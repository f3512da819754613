package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestCrashTable ends the gateway at every numbered step of ca.Issue and around every commit of an issuance, starts it
// again, lets the client finish, and judges what is left by the signer's witness, the client's history and an export.
func TestCrashTable(t *testing.T) {
	t.Parallel()
	var points []string
	for _, step := range []int{1, 3, 4, 5, 6, 7, 8, 9, 10, 11} {
		points = append(points, fmt.Sprintf("step=%d:1", step))
	}
	for _, commit := range []string{
		"account/:1", "order/:1", "usable/:1", "certificate/:1", "certificate/:2", "certificate/:3", "crl/:1", "crl/:2", "nonce-keys:1", "meta:1",
	} {
		points = append(points, "before="+commit, "after="+commit)
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHistory(w)
			witness := filepath.Join(t.TempDir(), "witness")
			answers := w.answers()

			i, err := w.tryStart("--witness", witness, "--die-at", point)
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				// An error here is the crash, seen by the client; without one the point comes after the client is done.
				err := h.advance(ctx, i, answers)
				cancel()
				i.mustExit()
				if !strings.Contains(i.cmd.ProcessState.String(), "killed") {
					t.Fatalf("the gateway was not killed at %s: %v, %v\n%s", point, err, i.cmd.ProcessState, i.log.tail())
				}
			}

			i = w.start("--witness", witness)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := h.advance(ctx, i, answers); err != nil {
				t.Fatalf("after the restart the client could not finish: %v", err)
			}
			h.checkNonces(ctx, i)
			i.stop()
			judge(t, w, witness, []*history{h})
		})
	}
}

// history is a client that can go on after its gateway died, and what it was told.
type history struct {
	*world
	key     *ecdsa.PrivateKey // of the account
	certKey *ecdsa.PrivateKey
	name    string

	account  string // URL, once acknowledged
	order    string // URL, once acknowledged
	authz    string // URL, once acknowledged as valid
	der      []byte // once downloaded
	revoked  bool   // once acknowledged
	finished string // the order's URL once it was seen valid
	nonces   []string
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
	c := i.client()
	c.Transport = &nonceLog{RoundTripper: c.Transport, h: h}
	return &acme.Client{
		Key: h.key, DirectoryURL: i.directory, HTTPClient: c,
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > 5 {
				return -1
			}
			return 50 * time.Millisecond
		},
	}
}

// nonceLog remembers the nonces that were used.
type nonceLog struct {
	http.RoundTripper
	h *history
}

func (l *nonceLog) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		if nonce := resp.Header.Get("Replay-Nonce"); nonce != "" {
			l.h.nonces = append(l.h.nonces, nonce)
		}
	}
	return resp, err
}

// advance does what is left: register, order, validate, finalize, download, revoke, and see the CRL.
func (h *history) advance(ctx context.Context, i *instance, answers *testca.HTTP) error {
	c := h.client(i)
	account, err := c.Register(ctx, &acme.Account{Contact: []string{"mailto:ops@example.com"}}, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		account, err = c.GetReg(ctx, "")
	}
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	if h.account != "" && h.account != account.URI {
		h.t.Errorf("the account was %s and is %s", h.account, account.URI)
	}
	h.account = account.URI
	if h.order == "" {
		o, err := c.AuthorizeOrder(ctx, acme.DomainIDs(h.name))
		if err != nil {
			return fmt.Errorf("ordering: %w", err)
		}
		h.order = o.URI
	}
	if err := h.obtain(ctx, c, answers); err != nil {
		return err
	}
	if err := c.RevokeCert(ctx, nil, h.der, acme.CRLReasonSuperseded); err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	h.revoked = true
	return h.seeRevoked(ctx)
}

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
			return fmt.Errorf("the order is %s: %v", o.Status, o.Error)
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
	challenge := authz.Challenges[0]
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

// checkNonces uses nonces from before the restart again, which must be refused (invariant 17).
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
