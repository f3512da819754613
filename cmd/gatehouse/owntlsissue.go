package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// ownProfile is the name of the profile of the gateway's own certificate, in the inventory and the journal.
const ownProfile = "own-tls"

// ownCertificate says what the gateway's own certificate is to be.
type ownCertificate struct {
	profile *policy.Profile
	names   []identifier.Identifier
	issuer  ca.Issuer
	org     auth.OrgID // whose inventory it is in
}

func (o *ownCertificate) texts() []string {
	var list []string
	for _, n := range o.names {
		list = append(list, n.Value())
	}
	return list
}

// caller is the gateway itself.
func (o *ownCertificate) caller() auth.Caller {
	return auth.Caller{Principal: policy.System, Org: o.org}
}

// submit asks for a certificate for a new key.
func (o *ownTLS) submit(ctx context.Context, registrar *ra.Registrar, now time.Time) (*ecdsa.PrivateKey, *ra.Enrollment, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.CertificateRequest{}
	var proofs []policy.Proven
	for _, n := range o.names {
		if n.Type() == identifier.IP {
			template.IPAddresses = append(template.IPAddresses, net.IP(n.Addr().AsSlice()))
		} else {
			template.DNSNames = append(template.DNSNames, n.Value())
		}
		proofs = append(proofs, policy.Proven{
			Proof: dcv.Proof{
				Method: policy.Configured, Identifier: n, At: now.UTC().Truncate(time.Second), Seen: "tls.names in the configuration",
			},
			Org: int32(o.org),
		})
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, err
	}
	e, err := registrar.Submit(ctx, o.caller(), ra.Request{
		Door: ra.DoorSystem, Profile: ownProfile, Names: o.names, CSR: csr, Proofs: proofs,
	})
	return key, e, err
}

// adopt serves an issued certificate from now on and keeps it for the next start. One that cannot be kept is served all
// the same.
func (o *ownTLS) adopt(ctx context.Context, registrar *ra.Registrar, e *ra.Enrollment, key *ecdsa.PrivateKey) error {
	record, err := registrar.Certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(record.DER)
	if err != nil {
		return err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return fmt.Errorf("the certificate with serial %s is for another key", e.Serial)
	}
	o.current.Store(&tls.Certificate{Certificate: o.chain(leaf), PrivateKey: key, Leaf: leaf})
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})...)
	if err := writeDurably(o.file, text); err != nil {
		o.log.Error("the listener's certificate cannot be kept; the next start issues another", "error", err)
	}
	return nil
}

// chain is what the listener sends: the certificate and what certified it, without the root (RFC 8446, 4.4.2).
func (o *ownTLS) chain(leaf *x509.Certificate) [][]byte {
	out := [][]byte{leaf.Raw}
	for _, c := range o.issuer.Chain {
		if selfSigned(c) {
			break
		}
		out = append(out, c.Raw)
	}
	return out
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}

// ownTLSFile holds key and certificate, so that they change together.
func ownTLSFile(data string) string { return filepath.Join(data, "tls", "own.pem") }

// load takes what an earlier process left, if it can be used. Whether it is still good is due's to say.
func (o *ownTLS) load() {
	pair, err := readOwnPair(o.file)
	if err == nil {
		err = pair.Leaf.CheckSignatureFrom(o.issuer.Chain[0])
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		o.log.Warn("the listener's certificate in the data folder cannot be used; another is issued", "file", o.file, "error", err)
	default:
		pair.Certificate = o.chain(pair.Leaf)
		o.current.Store(pair)
	}
}

// readOwnPair reads the file. One that others could read holds no secret any more.
func readOwnPair(path string) (*tls.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}
