package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// demoClient is an ACME client that answers http-01 itself.
type demoClient struct {
	*acme.Client
	roots   *x509.CertPool
	answers *testca.HTTP
}

// newDemoClient is a client of the directory at a URL, with a new account key and trust in the root in a file alone.
func newDemoClient(root, directory string, answers *testca.HTTP) (*demoClient, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	chain, err := ca.LoadChain(root)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(chain[0])
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &demoClient{
		Client: &acme.Client{Key: key, DirectoryURL: directory, HTTPClient: &http.Client{Transport: transport}},
		roots:  roots, answers: answers,
	}, nil
}

func (c *demoClient) register(ctx context.Context) error {
	_, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	return err
}

// issued is a certificate with its key.
type issued struct {
	leaf *x509.Certificate
	key  crypto.Signer
}

func (i *issued) serial() string { return hex.EncodeToString(i.leaf.SerialNumber.Bytes()) }

// issue orders, validates, finalizes, downloads and verifies.
func (c *demoClient) issue(ctx context.Context, names []string, steps *narrator) (*issued, error) {
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, err
	}
	steps.done("ordered a certificate for %s", strings.Join(names, " and "))
	for _, url := range order.AuthzURLs {
		if err := c.validate(ctx, url); err != nil {
			return nil, err
		}
	}
	steps.done("proved control by http-01, %d times", len(order.AuthzURLs))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := testca.CSR(key, names...)
	if err != nil {
		return nil, err
	}
	chain, _, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	leaf, err := c.verify(chain, names)
	return &issued{leaf: leaf, key: key}, err
}

func (c *demoClient) validate(ctx context.Context, url string) error {
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if authz.Status == acme.StatusValid {
		return nil
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		answer, err := c.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		c.answers.Set(challenge.Token, answer)
		defer c.answers.Remove(challenge.Token)
		if _, err := c.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = c.WaitAuthorization(ctx, url)
		return err
	}
	return fmt.Errorf("%s offers no http-01 challenge", url)
}

func (c *demoClient) verify(chain [][]byte, names []string) (*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	for _, der := range chain[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		intermediates.AddCert(cert)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: c.roots, Intermediates: intermediates}); err != nil {
			return nil, err
		}
	}
	return leaf, nil
}

func (c *demoClient) revoke(ctx context.Context, i *issued) error {
	return c.RevokeCert(ctx, i.key, i.leaf.Raw, acme.CRLReasonKeyCompromise)
}

// awaitRevocation fetches the CRL named in the certificate until it lists it, and verifies the list.
func (c *demoClient) awaitRevocation(ctx context.Context, i *issued) (number *big.Int, entries int, err error) {
	issuer, err := fetch(ctx, i.leaf.IssuingCertificateURL[0])
	if err != nil {
		return nil, 0, err
	}
	cert, err := x509.ParseCertificate(issuer)
	if err != nil {
		return nil, 0, err
	}
	for {
		der, err := fetch(ctx, i.leaf.CRLDistributionPoints[0])
		if err != nil {
			return nil, 0, err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, 0, err
		}
		if err := list.CheckSignatureFrom(cert); err != nil {
			return nil, 0, err
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(i.leaf.SerialNumber) == 0 {
				return list.Number, len(list.RevokedCertificateEntries), nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("the CRL does not list %s", i.serial())
		}
	}
}

// fetch gets a small file over plain HTTP.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(resp.Body, 10<<20)); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return body.Bytes(), nil
}
