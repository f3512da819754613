package storage

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// certificateRecord is an intent and what became of it, under issuer and serial.
type certificateRecord struct {
	State       uint8             `cbor:"1,keyasint"`
	TBSHash     []byte            `cbor:"2,keyasint"`
	Names       []name            `cbor:"3,keyasint,omitempty"` // while open; the certificate has them
	NotBefore   seconds           `cbor:"4,keyasint"`
	NotAfter    seconds           `cbor:"5,keyasint"`
	Enrollment  int64             `cbor:"6,keyasint"`
	Org         int32             `cbor:"7,keyasint"`
	Door        string            `cbor:"8,keyasint"`
	Principal   string            `cbor:"9,keyasint"`
	Profile     string            `cbor:"10,keyasint"`
	ProfileHash string            `cbor:"11,keyasint"`
	Opened      millis            `cbor:"12,keyasint"`
	DER         []byte            `cbor:"13,keyasint,omitempty"`
	Issued      seconds           `cbor:"14,keyasint,omitempty"`
	Revocation  *revocationRecord `cbor:"15,keyasint,omitempty"`
	Renewal     *renewalRecord    `cbor:"16,keyasint,omitempty"`
}

// renewalRecord is an operator's word on a certificate's renewal.
type renewalRecord struct {
	Start       seconds `cbor:"1,keyasint,omitempty"`
	End         seconds `cbor:"2,keyasint,omitempty"`
	Explanation string  `cbor:"3,keyasint,omitempty"`
	At          seconds `cbor:"4,keyasint"`
	Actor       string  `cbor:"5,keyasint"`
}

func toRenewal(r *ca.Renewal) *renewalRecord {
	if r == nil {
		return nil
	}
	return &renewalRecord{Start: toSeconds(r.Start), End: toSeconds(r.End), Explanation: r.Explanation, At: toSeconds(r.At), Actor: r.Actor}
}

func (r *renewalRecord) renewal() *ca.Renewal {
	if r == nil {
		return nil
	}
	return &ca.Renewal{Start: r.Start.time(), End: r.End.time(), Explanation: r.Explanation, At: r.At.time(), Actor: r.Actor}
}

type revocationRecord struct {
	At      seconds `cbor:"1,keyasint"`
	Reason  int     `cbor:"2,keyasint"`
	Actor   string  `cbor:"3,keyasint"`
	Comment string  `cbor:"4,keyasint,omitempty"`
}

func toRevocation(r *ca.Revocation) *revocationRecord {
	if r == nil {
		return nil
	}
	return &revocationRecord{At: toSeconds(r.At), Reason: int(r.Reason), Actor: r.Actor, Comment: r.Comment}
}

func (r *revocationRecord) revocation() *ca.Revocation {
	if r == nil {
		return nil
	}
	return &ca.Revocation{At: r.At.time(), Reason: ca.Reason(r.Reason), Actor: r.Actor, Comment: r.Comment}
}

func encodeCertificate(c *ca.Certificate) ([]byte, error) {
	r := certificateRecord{
		State: uint8(c.State), TBSHash: c.TBSHash[:], NotBefore: toSeconds(c.NotBefore), NotAfter: toSeconds(c.NotAfter),
		Enrollment: c.Enrollment, Org: c.Requester.Org, Door: c.Requester.Door, Principal: c.Requester.Principal,
		Profile: c.Profile, ProfileHash: c.ProfileHash, Opened: toMillis(c.Opened), DER: c.DER, Issued: toSeconds(c.Issued),
		Revocation: toRevocation(c.Revocation), Renewal: toRenewal(c.Renewal),
	}
	if len(c.DER) == 0 {
		r.Names = toNames(c.Names)
	}
	return encode(r)
}

func decodeCertificate(issuer string, serial ca.Serial, it Item) (*ca.Certificate, error) {
	if !it.Found {
		return nil, nil
	}
	key := keyCertificate(issuer, serial)
	var r certificateRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(key, err)
	}
	names, err := fromNames(r.Names)
	if err != nil {
		return nil, damaged(key, err)
	}
	c := &ca.Certificate{
		Intent: ca.Intent{
			Issuer: issuer, Serial: serial, Names: names, NotBefore: r.NotBefore.time(), NotAfter: r.NotAfter.time(),
			Enrollment: r.Enrollment, Requester: policy.Requester{Org: r.Org, Door: r.Door, Principal: r.Principal},
			Profile: r.Profile, ProfileHash: r.ProfileHash, Opened: r.Opened.time(),
		},
		State: ca.State(r.State), DER: r.DER, Issued: r.Issued.time(), Revocation: r.Revocation.revocation(), Version: it.Version,
		Renewal: r.Renewal.renewal(),
	}
	if copy(c.TBSHash[:], r.TBSHash) != len(c.TBSHash) {
		return nil, damaged(key, fmt.Errorf("the to-be-signed hash is %d octets", len(r.TBSHash)))
	}
	return c, nil
}

// enrollmentRecord is an enrollment under its number.
type enrollmentRecord struct {
	Org         int32             `cbor:"1,keyasint"`
	Door        string            `cbor:"2,keyasint"`
	Requester   string            `cbor:"3,keyasint"`
	Profile     string            `cbor:"4,keyasint"`
	ProfileHash []byte            `cbor:"5,keyasint,omitempty"` // by hexOctets, as is Serial
	Names       []name            `cbor:"6,keyasint"`
	CommonName  string            `cbor:"7,keyasint,omitempty"`
	Created     seconds           `cbor:"8,keyasint"`
	Claims      []claimRecord     `cbor:"9,keyasint,omitempty"`
	Phase       uint8             `cbor:"10,keyasint"`
	CSR         []byte            `cbor:"11,keyasint,omitempty"`
	Proofs      []provenRecord    `cbor:"12,keyasint,omitempty"`
	Due         millis            `cbor:"13,keyasint,omitempty"`
	Attempts    int               `cbor:"14,keyasint,omitempty"`
	Issuer      string            `cbor:"15,keyasint,omitempty"`
	Serial      []byte            `cbor:"16,keyasint,omitempty"`
	NotBefore   seconds           `cbor:"17,keyasint,omitempty"`
	NotAfter    seconds           `cbor:"18,keyasint,omitempty"`
	Issued      seconds           `cbor:"19,keyasint,omitempty"`
	Fingerprint []byte            `cbor:"20,keyasint,omitempty"`
	Revocation  *revocationRecord `cbor:"21,keyasint,omitempty"`
	Failure     *failureRecord    `cbor:"22,keyasint,omitempty"`
	Replaces    int64             `cbor:"23,keyasint,omitempty"`

	// The validity that was asked for, if one was.
	RequestedNotBefore seconds `cbor:"24,keyasint,omitempty"`
	RequestedNotAfter  seconds `cbor:"25,keyasint,omitempty"`

	Restriction *restrictionRecord `cbor:"26,keyasint,omitempty"`

	KeyStored    millis `cbor:"40,keyasint,omitempty"` // of its private key, which is a record of its own
	KeyDestroyed millis `cbor:"41,keyasint,omitempty"`

	// Under a profile that demands approvals.
	Content   []byte           `cbor:"30,keyasint,omitempty"`
	Approvals []approvalRecord `cbor:"31,keyasint,omitempty"`
	Renews    bool             `cbor:"32,keyasint,omitempty"`
	Holder    string           `cbor:"33,keyasint,omitempty"`
	Decliner  string           `cbor:"34,keyasint,omitempty"`

	// Of what was imported, and of what an operator asked for in another's name.
	detailsRecord

	Imported  bool   `cbor:"60,keyasint,omitempty"`
	Authority string `cbor:"61,keyasint,omitempty"`
	Agent     string `cbor:"62,keyasint,omitempty"`

	// Of a request that waited for validation.
	Challenges []requestChallengeRecord `cbor:"65,keyasint,omitempty"`
	CSRHash    *csrHashRecord           `cbor:"66,keyasint,omitempty"`
	ValidateBy seconds                  `cbor:"67,keyasint,omitempty"`
	Checking   millis                   `cbor:"68,keyasint,omitempty"`
	Canceller  string                   `cbor:"69,keyasint,omitempty"`

	Term         int64         `cbor:"70,keyasint,omitempty"` // in seconds
	CustomFields []fieldRecord `cbor:"71,keyasint,omitempty"`
}

// fieldRecord is the value of a custom field. The number is what says which; the name is as it was.
type fieldRecord struct {
	Number int32  `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"`
	Value  string `cbor:"3,keyasint"`
}

type claimRecord struct {
	Door  string `cbor:"1,keyasint"`
	Scope string `cbor:"2,keyasint,omitempty"`
	Name  string `cbor:"3,keyasint"`
}

type provenRecord struct {
	Proof   proofRecord `cbor:"1,keyasint"`
	Org     int32       `cbor:"2,keyasint"`
	Account string      `cbor:"3,keyasint,omitempty"`
	Owner   int32       `cbor:"50,keyasint,omitempty"` // of the domain
	// Of a publication for one request, whose proof serves it alone.
	Principal string `cbor:"65,keyasint,omitempty"`
	CSR       []byte `cbor:"66,keyasint,omitempty"`
}

func toProven(p policy.Proven) provenRecord {
	r := provenRecord{Proof: toProof(p.Proof), Org: p.Org, Account: p.Account, Owner: p.Owner, Principal: p.Principal}
	if p.CSR != [32]byte{} {
		r.CSR = p.CSR[:]
	}
	return r
}

func (r provenRecord) proven() (policy.Proven, error) {
	proof, err := r.Proof.proof()
	p := policy.Proven{Proof: proof, Org: r.Org, Account: r.Account, Owner: r.Owner, Principal: r.Principal}
	if len(r.CSR) > 0 && copy(p.CSR[:], r.CSR) != len(p.CSR) {
		return p, fmt.Errorf("the hash of a proof's CSR has %d octets", len(r.CSR))
	}
	return p, err
}

func encodeEnrollment(e *ra.Enrollment) ([]byte, error) {
	r := enrollmentRecord{
		Org: int32(e.Org), Door: string(e.Door), Requester: e.Requester, Profile: e.Profile, ProfileHash: hexOctets(e.ProfileHash),
		Names: toNames(e.Names), CommonName: e.CommonName, Created: toSeconds(e.Created), Phase: uint8(e.Phase), CSR: e.CSR,
		Due: toMillis(e.Due), Attempts: e.Attempts, Issuer: e.Issuer, Serial: hexOctets(string(e.Serial)),
		NotBefore: toSeconds(e.NotBefore), NotAfter: toSeconds(e.NotAfter), Issued: toSeconds(e.Issued),
		RequestedNotBefore: toSeconds(e.Requested.NotBefore), RequestedNotAfter: toSeconds(e.Requested.NotAfter),
		Revocation: toRevocation(e.Revocation), Replaces: int64(e.Replaces), Restriction: toRestriction(e.Restriction),
	}
	r.Content, r.Approvals, r.Renews, r.Holder, r.Decliner = hexOctets(e.Content), toApprovals(e.Approvals), e.Renews, e.Holder, e.Decliner
	r.KeyStored, r.KeyDestroyed = toMillis(e.KeyStored), toMillis(e.KeyDestroyed)
	if e.Fingerprint != [32]byte{} {
		r.Fingerprint = e.Fingerprint[:]
	}
	r.Term = int64(e.Term / time.Second)
	for _, f := range e.CustomFields {
		r.CustomFields = append(r.CustomFields, fieldRecord(f))
	}
	r.detailsRecord = toDetails(e)
	for _, c := range e.Claims {
		r.Claims = append(r.Claims, claimRecord{Door: string(c.Door), Scope: c.Scope, Name: c.Name})
	}
	r.Imported, r.Authority, r.Agent = e.Imported, e.Authority, e.Agent
	r.Challenges, r.CSRHash, r.ValidateBy = toChallenges(e.Challenges), toCSRHash(e.CSRHash), toSeconds(e.ValidateBy)
	r.Checking, r.Canceller = toMillis(e.Checking), e.Canceller
	for _, p := range e.Proofs {
		r.Proofs = append(r.Proofs, toProven(p))
	}
	if f := e.Failure; f != nil {
		r.Failure = &failureRecord{Kind: f.Kind.String(), Detail: f.Detail, At: toSeconds(f.At)}
	}
	return encode(r)
}

func decodeEnrollment(id ra.ID, it Item) (*ra.Enrollment, error) {
	if !it.Found {
		return nil, nil
	}
	var r enrollmentRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyEnrollment(id), err)
	}
	names, err := fromNames(r.Names)
	if err != nil {
		return nil, damaged(keyEnrollment(id), err)
	}
	e := &ra.Enrollment{
		ID: id, Org: auth.OrgID(r.Org), Door: ra.Door(r.Door), Requester: r.Requester, Profile: r.Profile,
		ProfileHash: octetsHex(r.ProfileHash), Names: names, CommonName: r.CommonName, Created: r.Created.time(),
		Phase: ra.Phase(r.Phase), CSR: r.CSR, Due: r.Due.time(), Attempts: r.Attempts, Issuer: r.Issuer,
		Serial: ca.Serial(octetsHex(r.Serial)), NotBefore: r.NotBefore.time(), NotAfter: r.NotAfter.time(),
		Issued: r.Issued.time(), Revocation: r.Revocation.revocation(), Replaces: ra.ID(r.Replaces), Version: it.Version,
		Requested:   policy.Period{NotBefore: r.RequestedNotBefore.time(), NotAfter: r.RequestedNotAfter.time()},
		Restriction: r.Restriction.restriction(),
	}
	e.Content, e.Renews, e.Holder, e.Decliner = octetsHex(r.Content), r.Renews, r.Holder, r.Decliner
	e.Approvals = fromApprovals(r.Approvals, e.Content)
	e.Imported, e.Authority, e.Agent = r.Imported, r.Authority, r.Agent
	e.ValidateBy, e.Checking, e.Canceller = r.ValidateBy.time(), r.Checking.time(), r.Canceller
	if e.Challenges, err = fromChallenges(r.Challenges); err == nil {
		e.CSRHash, err = r.CSRHash.hash()
	}
	if err != nil {
		return nil, damaged(keyEnrollment(id), err)
	}
	e.KeyStored, e.KeyDestroyed = r.KeyStored.time(), r.KeyDestroyed.time()
	copy(e.Fingerprint[:], r.Fingerprint)
	e.Term = time.Duration(r.Term) * time.Second
	for _, f := range r.CustomFields {
		e.CustomFields = append(e.CustomFields, policy.FieldValue(f))
	}
	r.detailsRecord.into(e)
	for _, c := range r.Claims {
		e.Claims = append(e.Claims, ra.Claim{Door: ra.Door(c.Door), Scope: c.Scope, Name: c.Name})
	}
	for _, p := range r.Proofs {
		proven, err := p.proven()
		if err != nil {
			return nil, damaged(keyEnrollment(id), err)
		}
		e.Proofs = append(e.Proofs, proven)
	}
	if f := r.Failure; f != nil {
		e.Failure = &ra.Failure{Kind: problem.ParseKind(f.Kind), Detail: f.Detail, At: f.At.time()}
	}
	return e, nil
}

// hexOctets halves what is hex: hashes and serials are most of a record.
func hexOctets(s string) []byte {
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || hex.EncodeToString(b) != s {
		return append([]byte{0xff}, s...) // 0xff starts no serial and marks text
	}
	return append([]byte{0}, b...)
}

func octetsHex(b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case b[0] == 0xff:
		return string(b[1:])
	default:
		return hex.EncodeToString(b[1:])
	}
}
