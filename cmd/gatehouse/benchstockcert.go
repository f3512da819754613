package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// stockCertificate is a certificate that is encoded once. For each enrollment its serial, times and names are written over
// and it is signed: whole certificates that parse and verify, at a twentieth of what encoding each would cost. Its issuer is
// thrown away with the process. It is safe for concurrent use.
type stockCertificate struct {
	tbs       []byte // to-be-signed, with placeholders
	algorithm asn1.RawValue
	issuer    testca.Authority

	serial, notBefore, notAfter int // where they stand in tbs
	names                       [2]int
}

const stockTime = "060102150405Z" // UTCTime, to the year 2049 (RFC 5280, 4.1.2.5)

// newStockCertificate makes an issuer, and the certificate with placeholders that occur nowhere else in it.
func newStockCertificate(now time.Time) (*stockCertificate, error) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Name: "Gatehouse Bench", Now: func() time.Time { return now.Add(-stockValidity - stockExpired - stockBackdate) }})
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial := newStockSerial()
	names := (&benchStock{now: now}).facts(0).names
	notBefore, notAfter := now.Add(-stockExpired-time.Second), now.Add(stockValidity+time.Second)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]), NotBefore: notBefore, NotAfter: notAfter, DNSNames: names[:],
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		IssuingCertificateURL: []string{"http://pki.example.com/issuer/bench.crt"}, CRLDistributionPoints: []string{"http://pki.example.com/crl/bench/0.crl"},
	}, h.Intermediate.Certificate, &key.PublicKey, h.Intermediate.Key)
	if err != nil {
		return nil, err
	}
	var outer struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, err
	}
	c := &stockCertificate{tbs: outer.TBS.FullBytes, algorithm: outer.Algorithm, issuer: h.Intermediate}
	for _, place := range []struct {
		at   *int
		text []byte
	}{
		{&c.serial, serial[:]}, {&c.notBefore, []byte(notBefore.Format(stockTime))}, {&c.notAfter, []byte(notAfter.Format(stockTime))},
		// The second name ends with the first, which stands alone in front of it.
		{&c.names[0], []byte(names[0])}, {&c.names[1], []byte(names[1])},
	} {
		if *place.at = bytes.Index(c.tbs, place.text); *place.at < 0 {
			return nil, fmt.Errorf("the pattern of a certificate lacks %q", place.text)
		}
	}
	return c, nil
}

// newStockSerial is of the gate's form: one octet of 01 to 7f, then 16 random ones.
func newStockSerial() (serial [17]byte) {
	rand.Read(serial[:]) // never fails: crypto/rand aborts the process instead
	serial[0] = max(serial[0]&0x7f, 1)
	return serial
}

// sign makes a certificate. The names must be as long as the pattern's.
func (c *stockCertificate) sign(names [2]string, notBefore, notAfter time.Time) (*ca.Certificate, error) {
	if notAfter.Year() > 2049 {
		return nil, errors.New("validities beyond the year 2049 are encoded differently")
	}
	serial := newStockSerial()
	tbs := slices.Clone(c.tbs)
	copy(tbs[c.serial:], serial[:])
	copy(tbs[c.notBefore:], notBefore.UTC().Format(stockTime))
	copy(tbs[c.notAfter:], notAfter.UTC().Format(stockTime))
	for i, name := range names {
		copy(tbs[c.names[i]:], name)
	}
	hash := sha256.Sum256(tbs)
	signature, err := c.issuer.Key.Sign(rand.Reader, hash[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, c.algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		return nil, err
	}
	return &ca.Certificate{
		Intent: ca.Intent{
			Issuer: stockIssuer, Serial: ca.Serial(hex.EncodeToString(serial[:])), TBSHash: hash, NotBefore: notBefore, NotAfter: notAfter,
		},
		State: ca.Issued, DER: der,
	}, nil
}
