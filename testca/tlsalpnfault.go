package testca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// TLSALPNFault is a way in which a server that answers tls-alpn-01 goes wrong.
type TLSALPNFault uint8

// The faults. The zero value is none.
const (
	TLSALPNHonest        TLSALPNFault = iota
	TLSALPNSilent                     // reads the ClientHello and answers nothing until the client leaves
	TLSALPNHangUp                     // closes the connection instead of answering
	TLSALPNPlain                      // answers with text instead of TLS
	TLSALPNOldVersion                 // TLS 1.1 at most
	TLSALPNNoProtocol                 // negotiates no protocol, as servers do that do not know ALPN
	TLSALPNOtherProtocol              // knows http/1.1 and h2 alone
	TLSALPNPadded                     // the right certificate, then a chain of 100 KiB

	TLSALPNOtherName     // another dNSName
	TLSALPNTwoNames      // a second dNSName
	TLSALPNHiddenName    // an otherName beside the dNSName, which package x509 does not show
	TLSALPNNoName        // no subjectAltName
	TLSALPNEmptyName     // a subjectAltName without names
	TLSALPNCommonName    // the name in the subject's CN alone
	TLSALPNTextForName   // an address as dNSName, a name as uniformResourceIdentifier
	TLSALPNNotCritical   // acmeIdentifier is not critical
	TLSALPNNoExtension   // no acmeIdentifier
	TLSALPNDraftOID      // acmeIdentifier under the number of earlier drafts
	TLSALPNOtherDigest   // the digest of something else
	TLSALPNShortDigest   // 31 octets of the digest
	TLSALPNBareDigest    // the digest without the octet string around it
	TLSALPNTrailing      // octets behind the octet string
	TLSALPNIssued        // issued by another certificate
	TLSALPNForgedIssuer  // names itself as issuer and is signed by another key
	TLSALPNUpperCaseName // not a fault: RFC 4343 lets names differ in letter case
)

// config is how one connection is answered; it is called when the ClientHello has been read.
func (f TLSALPNFault) config(ctx context.Context, c net.Conn, answer tlsAnswer) (*tls.Config, error) {
	switch f {
	case TLSALPNSilent:
		_ = c.SetDeadline(time.Time{}) // not before the client
		var one [1]byte
		_, err := c.Read(one[:]) // until the client leaves or the server is closed
		return nil, errors.Join(ctx.Err(), err)
	case TLSALPNHangUp:
		return nil, c.Close()
	case TLSALPNPlain:
		_, err := c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		return nil, errors.Join(err, c.Close())
	}
	cert, err := f.certificate(answer)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"acme-tls/1"}, Certificates: []tls.Certificate{cert}}
	switch f {
	case TLSALPNOldVersion:
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	case TLSALPNNoProtocol:
		config.NextProtos = nil
	case TLSALPNOtherProtocol:
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config, nil
}

// certificate is the answer of RFC 8737, 3, or what the fault makes of it.
func (f TLSALPNFault) certificate(answer tlsAnswer) (tls.Certificate, error) {
	key, err := NewKey(P256)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Throw-away ACME challenge"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	if f == TLSALPNCommonName {
		tmpl.Subject.CommonName = answer.id.Value()
	}
	parent, signer := tmpl, crypto.Signer(key)
	switch f {
	case TLSALPNIssued, TLSALPNForgedIssuer:
		if signer, err = NewKey(P256); err != nil {
			return tls.Certificate{}, err
		}
		if f == TLSALPNIssued {
			parent = &x509.Certificate{Subject: pkix.Name{CommonName: "Throw-away issuer"}}
		}
	}
	if san := f.names(answer.id); san != nil {
		value, err := asn1.Marshal(san)
		if err != nil {
			return tls.Certificate{}, err
		}
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value})
	}
	extension, err := f.acmeIdentifier(answer.digest)
	if err != nil {
		return tls.Certificate{}, err
	}
	if f != TLSALPNNoExtension {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, extension)
	}
	der, err := signAs(tmpl, parent, key, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: f.chain(der), PrivateKey: key}, nil
}

// signAs makes a certificate in the name of parent. x509.CreateCertificate refuses to sign with a key that is not the
// parent's, so a parent that lies has no key.
func signAs(tmpl, parent *x509.Certificate, key, signer crypto.Signer) ([]byte, error) {
	issuer := *parent
	issuer.PublicKey = signer.Public()
	return x509.CreateCertificate(rand.Reader, tmpl, &issuer, key.Public(), signer)
}

// chain is what the server shows.
func (f TLSALPNFault) chain(der []byte) [][]byte {
	list := [][]byte{der}
	if f == TLSALPNPadded {
		for size := 0; size < 100<<10; size += len(der) {
			list = append(list, der)
		}
	}
	return list
}

// names are the subjectAltName's GeneralNames (RFC 5280, 4.2.1.6); nil for none at all.
func (f TLSALPNFault) names(id identifier.Identifier) []asn1.RawValue {
	name := func(tag int, value []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value}
	}
	const dNSName, uri, iPAddress = 2, 6, 7
	right := name(dNSName, []byte(id.Value()))
	if id.Type() == identifier.IP {
		right = name(iPAddress, id.Addr().AsSlice())
	}
	switch f {
	case TLSALPNNoName, TLSALPNCommonName:
		return nil
	case TLSALPNEmptyName:
		return []asn1.RawValue{}
	case TLSALPNOtherName:
		return []asn1.RawValue{name(dNSName, []byte("elsewhere.example"))}
	case TLSALPNTwoNames:
		return []asn1.RawValue{right, name(dNSName, []byte("elsewhere.example"))}
	case TLSALPNHiddenName:
		// otherName: id-on-dnsSRV (RFC 4985) with a value.
		hidden := []byte{6, 8, 0x2b, 6, 1, 5, 5, 7, 8, 7, 0xa0, 4, 0x16, 2, '_', 'a'}
		return []asn1.RawValue{right, {Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: hidden}}
	case TLSALPNTextForName:
		if id.Type() == identifier.IP {
			return []asn1.RawValue{name(dNSName, []byte(id.Value()))}
		}
		return []asn1.RawValue{name(uri, []byte("https://"+id.Value()))}
	case TLSALPNUpperCaseName:
		upper := []byte(id.Value())
		for i, c := range upper {
			if 'a' <= c && c <= 'z' {
				upper[i] = c - 'a' + 'A'
			}
		}
		return []asn1.RawValue{name(dNSName, upper)}
	}
	return []asn1.RawValue{right}
}

// acmeIdentifier is the extension with the digest of the key authorization.
func (f TLSALPNFault) acmeIdentifier(digest []byte) (pkix.Extension, error) {
	switch f {
	case TLSALPNOtherDigest:
		other := sha256.Sum256(digest)
		digest = other[:]
	case TLSALPNShortDigest:
		digest = digest[:len(digest)-1]
	}
	value, err := asn1.Marshal(digest)
	switch f {
	case TLSALPNBareDigest:
		value = digest
	case TLSALPNTrailing:
		value = append(value, 5, 0)
	}
	// id-pe-acmeIdentifier (RFC 8737, 6.1)
	e := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: f != TLSALPNNotCritical, Value: value}
	if f == TLSALPNDraftOID {
		e.Id = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}
	}
	return e, err
}
