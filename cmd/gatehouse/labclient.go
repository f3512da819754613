package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// labVerdict is what came of ordering a name.
type labVerdict struct {
	labHost
	Got           string `json:"got"`              // labIssued, or the type of the error document
	Detail        string `json:"detail,omitempty"` // of the error document
	Authorization string `json:"authorization,omitempty"`
	Serial        string `json:"serial,omitempty"`
	Millis        int64  `json:"ms"`
	AsExpected    bool   `json:"asExpected"` // of a name that is not in the table: it was issued for
}

// labAnswers are a client's own servers: those of the lab's that misbehave stand in front of them.
type labAnswers struct {
	web *testca.HTTP
	tls *testca.TLSALPN
	dns string // where records are changed
}

// newLabAnswers listens where the lab says that clients answer.
func newLabAnswers(l labState) (*labAnswers, error) {
	const advice = "end the client that answers there, or the other gatehouse lab try"
	a := &labAnswers{dns: l.DNS}
	var err error
	if a.web, err = testca.NewHTTP(testca.HTTPConfig{Addr: hostPort(labClientAddr, l.HTTP01)}); err != nil {
		return nil, fmt.Errorf("answering http-01: %w; %s", err, advice)
	}
	if a.tls, err = testca.NewTLSALPN(testca.TLSALPNConfig{Addr: hostPort(labClientAddr, l.TLSALPN01)}); err != nil {
		return nil, errors.Join(fmt.Errorf("answering tls-alpn-01: %w; %s", err, advice), a.web.Close())
	}
	return a, nil
}

func (a *labAnswers) close() error { return errors.Join(a.web.Close(), a.tls.Close()) }

// labClient is a client for one order: with an account of its own, so that nothing is left of earlier ones.
type labClient struct {
	*demoClient
	answers *labAnswers
}

// try orders a name and says what came of it. The error is of what no error document tells: the lab could not be used.
func (a *labAnswers) try(ctx context.Context, l labState, h labHost) (labVerdict, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	v, start := labVerdict{labHost: h}, time.Now()
	client, err := newDemoClient(l.Root, l.in(h.Profile), a.web)
	if err != nil {
		return v, err
	}
	defer client.HTTPClient.CloseIdleConnections()
	c := &labClient{client, a}
	err = c.obtain(ctx, h, &v)
	v.Millis = time.Since(start).Milliseconds()
	if document := problemDocument(err); document != nil {
		v.Got, v.Detail = document.ProblemType, document.Detail
	} else if err != nil {
		return v, fmt.Errorf("ordering %s: %w", h.Name, err)
	}
	v.AsExpected = v.Got == h.Expected || h.Expected == "" && v.Got == labIssued
	return v, nil
}

// problemDocument is the error document that an error of the client library came from, nil if it came from none.
func problemDocument(err error) *acme.Error {
	if refusal, ok := errors.AsType[*acme.AuthorizationError](err); ok && len(refusal.Errors) > 0 {
		err = refusal.Errors[0]
	}
	if order, ok := errors.AsType[*acme.OrderError](err); ok && order.Problem != nil {
		err = order.Problem
	}
	document, _ := errors.AsType[*acme.Error](err)
	return document
}

// obtain goes all the way to a certificate.
func (c *labClient) obtain(ctx context.Context, h labHost, v *labVerdict) error {
	if err := c.register(ctx); err != nil {
		return err
	}
	id := acme.DomainIDs(h.Name)
	if _, err := netip.ParseAddr(h.Name); err == nil {
		id = acme.IPIDs(h.Name)
	}
	order, err := c.AuthorizeOrder(ctx, id)
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		v.Authorization = url
		if err := c.prove(ctx, url, h.Method); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := c.finalize(ctx, order, key, h.Name)
	if err != nil {
		return err
	}
	v.Got, v.Serial = labIssued, cert.serial()
	return nil
}

func (c *labClient) finalize(ctx context.Context, order *acme.Order, key crypto.Signer, name string) (*issued, error) {
	csr, err := testca.CSR(key, name)
	if err != nil {
		return nil, err
	}
	chain, _, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	covered := name
	if base, wildcard := strings.CutPrefix(name, "*."); wildcard {
		covered = "any." + base
	}
	leaf, err := c.verify(chain, []string{covered})
	return &issued{leaf: leaf, key: key}, err
}

// prove answers an authorization's challenge of a method.
func (c *labClient) prove(ctx context.Context, url string, method dcv.Method) error {
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	var offered []string
	for _, challenge := range authz.Challenges {
		offered = append(offered, challenge.Type)
		if challenge.Type != string(method) {
			continue
		}
		remove, err := c.present(ctx, authz.Identifier, challenge)
		if err != nil {
			return err
		}
		defer remove()
		if _, err := c.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = c.WaitAuthorization(ctx, url)
		return err
	}
	return fmt.Errorf("the gateway offers no %s for this name; --method can be %s", method, strings.Join(offered, " or "))
}

// present publishes a challenge's answer; remove takes it back.
func (c *labClient) present(ctx context.Context, id acme.AuthzID, challenge *acme.Challenge) (remove func(), err error) {
	answer, err := c.HTTP01ChallengeResponse(challenge.Token) // the key authorization
	if err != nil {
		return nil, err
	}
	switch method := dcv.Method(challenge.Type); method {
	case dcv.HTTP01:
		c.answers.web.Set(challenge.Token, answer)
		return func() { c.answers.web.Remove(challenge.Token) }, nil
	case dcv.TLSALPN01:
		name, err := identifier.Parse(id.Type, id.Value)
		if err != nil {
			return nil, err
		}
		c.answers.tls.Set(name, answer)
		return func() { c.answers.tls.Remove(name) }, nil
	case dcv.DNS01:
		text, err := c.DNS01ChallengeRecord(challenge.Token)
		if err != nil {
			return nil, err
		}
		record := labRecord{server: c.answers.dns, name: id.Value, text: text}
		if err := record.change(ctx, true); err != nil {
			return nil, err
		}
		return func() { _ = record.change(context.WithoutCancel(ctx), false) }, nil
	default:
		return nil, fmt.Errorf("this client does not know %s", method)
	}
}
