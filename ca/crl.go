package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// CRLEntry is one revoked or abandoned serial on a list.
type CRLEntry struct {
	Serial Serial
	At     time.Time // the revocationDate
	Reason Reason    // 0: no reason extension (RFC 5280, 5.3.1: absent rather than unspecified)
}

// CRLRequest asks for one complete certificate revocation list of an issuer. What is on it and which number and times it
// carries is the caller's decision (package publish).
type CRLRequest struct {
	Issuer     string
	Number     int64     // RFC 5280, 5.2.3: positive, and higher than that of any list before
	ThisUpdate time.Time // whole seconds
	NextUpdate time.Time // whole seconds, after ThisUpdate
	Entries    []CRLEntry
}

// SignCRL signs a list (RFC 5280, 5) and returns it as DER, once it is known to be what was asked for, to parse and to
// verify, and once its number and hash are in the journal. It uses the issuer's pool and deadline as certificates do.
// Errors are *problem.Error: NotFound for an unknown issuer, Unavailable if issuer or journal cannot serve, Internal for
// a request that makes no list and for a back end that returned another one.
func (a *Authority) SignCRL(ctx context.Context, req CRLRequest) ([]byte, error) {
	is, ok := a.issuers[req.Issuer]
	if !ok {
		return nil, problem.New(problem.NotFound, "there is no issuer %s", req.Issuer)
	}
	if err := a.ready(); err != nil {
		return nil, err
	}
	list, err := is.crl(req)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "the revocation list of %s cannot be built", req.Issuer)
	}
	tbs, err := is.captureCRL(list)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "the revocation list of %s cannot be built", req.Issuer)
	}
	der, err := is.pool.sign(ctx, fmt.Sprint("CRL ", req.Number), func(ctx context.Context) ([]byte, error) {
		return is.Backend.SignCRL(ctx, list)
	})
	if err != nil {
		if _, ok := errors.AsType[*problem.Error](err); ok {
			return nil, err
		}
		return nil, problem.Wrap(err, problem.Unavailable, "the issuer %s cannot sign now", req.Issuer).After(comeBack)
	}
	if err := is.verifyCRL(der, tbs, len(req.Entries)); err != nil {
		a.log.Error("the back end returned another revocation list than it was asked to sign; it was refused",
			"issuer", is.Name, "number", req.Number, "error", err)
		return nil, problem.Wrap(err, problem.Internal, "the issuer %s returned a revocation list that was not asked for", req.Issuer)
	}
	hash := sha256.Sum256(der)
	if err := a.append(ctx, audit.Event{
		Kind: audit.CRLSigned, Actor: "system", Issuer: is.Name, Number: req.Number, Hash: hash[:],
	}); err != nil {
		return nil, err
	}
	return der, nil
}

// crl builds the template of a list. It refuses what would make a list that relying parties misread.
func (is *issuer) crl(req CRLRequest) (*x509.RevocationList, error) {
	switch {
	case req.Number <= 0: // RFC 5280, 5.2.3
		return nil, fmt.Errorf("CRL number %d is not positive", req.Number)
	case !req.NextUpdate.After(req.ThisUpdate): // RFC 5280, 5.1.2.5
		return nil, errors.New("nextUpdate is not after thisUpdate")
	}
	list := &x509.RevocationList{
		SignatureAlgorithm:        is.algorithm,
		Number:                    big.NewInt(req.Number),
		ThisUpdate:                req.ThisUpdate.UTC().Truncate(time.Second), // RFC 5280, 5.1.2.4: no fractions
		NextUpdate:                req.NextUpdate.UTC().Truncate(time.Second),
		RevokedCertificateEntries: make([]x509.RevocationListEntry, 0, len(req.Entries)),
	}
	seen := make(map[Serial]struct{}, len(req.Entries))
	for _, e := range req.Entries {
		serial, err := e.Serial.Int()
		if err != nil {
			return nil, err
		}
		if _, twice := seen[e.Serial]; twice {
			return nil, fmt.Errorf("serial %s is there twice", e.Serial)
		}
		seen[e.Serial] = struct{}{}
		if _, known := reasonNames[e.Reason]; !known {
			return nil, fmt.Errorf("serial %s has the reason %d, which no revocation here can have", e.Serial, int(e.Reason))
		}
		if e.At.IsZero() {
			return nil, fmt.Errorf("serial %s has no revocation date", e.Serial)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: serial, RevocationTime: e.At.UTC().Truncate(time.Second), ReasonCode: int(e.Reason),
		})
	}
	return list, nil
}

// verifyCRL checks that der is a list over exactly the bytes tbs, with so many entries, signed by the issuer's key.
func (is *issuer) verifyCRL(der, tbs []byte, entries int) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("it does not parse: %w", err)
	}
	if !bytes.Equal(list.RawTBSRevocationList, tbs) {
		return errors.New("its to-be-signed bytes are not those that were asked for")
	}
	if len(list.RevokedCertificateEntries) != entries {
		return fmt.Errorf("it has %d entries instead of %d", len(list.RevokedCertificateEntries), entries)
	}
	if err := list.CheckSignatureFrom(is.cert); err != nil {
		return fmt.Errorf("its signature is not the issuer's: %w", err)
	}
	return nil
}
