package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// benchDomains are the registered domains that the names lie in: those reserved for examples (RFC 2606, 3). There are
// several, because a gateway bounds how many validations it runs at once for one registered domain.
var benchDomains = []string{"example.com", "example.net", "example.org"}

// benchOrder is an order with everything a client needs that can be made before time is measured.
type benchOrder struct {
	names    []string
	key      *ecdsa.PublicKey
	newOrder []byte // payload of newOrder
	finalize []byte // payload of finalize
}

// benchOrders makes orders. No two have a name in common, so no authorization is ever used again.
type benchOrders struct {
	names int // per order
	made  atomic.Int64
}

// make makes n orders.
func (b *benchOrders) make(n int) ([]*benchOrder, error) {
	orders := make([]*benchOrder, n)
	for i := range orders {
		var err error
		if orders[i], err = b.next(); err != nil {
			return nil, err
		}
	}
	return orders, nil
}

// one is an order made when it is needed; nil if that fails.
func (b *benchOrders) one() *benchOrder {
	o, err := b.next()
	if err != nil {
		return nil
	}
	return o
}

func (b *benchOrders) next() (*benchOrder, error) {
	n := b.made.Add(1)
	o := &benchOrder{}
	type identifier struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	var request struct {
		Identifiers []identifier `json:"identifiers"`
	}
	for i := range b.names {
		name := fmt.Sprintf("b%d-%d.%s", n, i, benchDomains[int(n)%len(benchDomains)])
		o.names = append(o.names, name)
		request.Identifiers = append(request.Identifiers, identifier{"dns", name})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	o.key = &key.PublicKey
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: o.names}, key)
	if err != nil {
		return nil, err
	}
	if o.newOrder, err = json.Marshal(request); err != nil {
		return nil, err
	}
	o.finalize = fmt.Appendf(nil, `{"csr":%q}`, base64.RawURLEncoding.EncodeToString(csr))
	return o, nil
}

// listOf hands out orders to any number of clients, then nil.
func listOf(orders []*benchOrder) func() *benchOrder {
	var taken atomic.Int64
	return func() *benchOrder {
		if n := int(taken.Add(1)); n <= len(orders) {
			return orders[n-1]
		}
		return nil
	}
}

// benchCertificate is what a client downloaded for an order.
type benchCertificate struct {
	order *benchOrder
	chain []byte // PEM
}

// benchChecker examines one server's certificates: a fast server that issues the wrong thing has not issued.
type benchChecker struct {
	serials map[string]bool
	size    int // DER bytes of the last certificate
}

// check moves issuances whose certificate is wrong to the failed ones.
func (c *benchChecker) check(run *benchRun) {
	for _, issued := range run.certificates {
		if err := c.examine(issued); err != nil {
			run.issued--
			run.fail(fmt.Errorf("the certificate for %s: %w", issued.order.names[0], err))
		}
	}
	run.certificates = nil
}

func (c *benchChecker) examine(issued benchCertificate) error {
	block, rest := pem.Decode(issued.chain)
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("the download is no PEM certificate")
	}
	if next, _ := pem.Decode(bytes.TrimSpace(rest)); next == nil {
		return errors.New("the download has no issuer certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	got, want := slices.Sorted(slices.Values(cert.DNSNames)), slices.Sorted(slices.Values(issued.order.names))
	serial := cert.SerialNumber.Text(16)
	switch {
	case !issued.order.key.Equal(cert.PublicKey):
		return errors.New("it certifies another key")
	case !slices.Equal(got, want):
		return fmt.Errorf("it is for %v", cert.DNSNames)
	case c.serials[serial]:
		return fmt.Errorf("its serial %s was used before", serial)
	}
	if c.serials == nil {
		c.serials = map[string]bool{}
	}
	c.serials[serial] = true
	c.size = len(cert.Raw)
	return nil
}
