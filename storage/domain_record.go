package storage

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// domainRecord is a domain under its name.
type domainRecord struct {
	Org         int32              `cbor:"1,keyasint"`
	Created     seconds            `cbor:"2,keyasint"`
	Removed     seconds            `cbor:"3,keyasint,omitempty"`
	Delegations []delegationRecord `cbor:"4,keyasint,omitempty"`
	Proof       *proofRecord       `cbor:"5,keyasint,omitempty"`
	Validation  *lookingRecord     `cbor:"6,keyasint,omitempty"`
	Edits       int64              `cbor:"7,keyasint"`
	Email       *emailRecord       `cbor:"8,keyasint,omitempty"`
	Number      int32              `cbor:"9,keyasint,omitempty"`
	Description string             `cbor:"10,keyasint,omitempty"`
	Suspended   seconds            `cbor:"11,keyasint,omitempty"`
	Own         []string           `cbor:"12,keyasint,omitempty"`
}

type delegationRecord struct {
	Org       int32   `cbor:"1,keyasint"`
	State     string  `cbor:"2,keyasint"`
	Requested seconds `cbor:"3,keyasint"`
	Decided   seconds `cbor:"4,keyasint,omitempty"`

	Privileges []string `cbor:"5,keyasint,omitempty"`
}

// lookingRecord is a domain's validation that is under way, or came to nothing.
type lookingRecord struct {
	Method   string         `cbor:"1,keyasint"`
	Place    string         `cbor:"2,keyasint"`
	Value    string         `cbor:"3,keyasint"`
	Begun    seconds        `cbor:"4,keyasint"`
	Expires  seconds        `cbor:"5,keyasint"`
	Due      millis         `cbor:"6,keyasint,omitempty"`
	Attempts int            `cbor:"7,keyasint,omitempty"`
	Failed   *failureRecord `cbor:"8,keyasint,omitempty"`
	// Submitted is absent while nobody has submitted it, and from records of before there was that; those have a look due, or had one.
	Submitted seconds `cbor:"9,keyasint,omitempty"`
}

func encodeDomain(d *ra.Domain) ([]byte, error) {
	r := domainRecord{
		Org: int32(d.Org), Created: toSeconds(d.Created), Removed: toSeconds(d.Removed), Edits: d.Edits, Number: int32(d.Number),
		Description: d.Description, Suspended: toSeconds(d.Suspended), Own: words(d.Own),
	}
	for _, l := range d.Delegations {
		r.Delegations = append(r.Delegations, delegationRecord{
			Org: int32(l.Org), State: string(l.State), Requested: toSeconds(l.Requested), Decided: toSeconds(l.Decided),
			Privileges: words(l.Privileges),
		})
	}
	if d.Proof != nil {
		p := toProof(*d.Proof)
		r.Proof = &p
	}
	if v := d.Validation; v != nil {
		r.Validation = &lookingRecord{
			Method: string(v.Method), Place: v.Publication.Place, Value: v.Publication.Value, Begun: toSeconds(v.Begun),
			Expires: toSeconds(v.Expires), Due: toMillis(v.Due), Attempts: v.Attempts, Submitted: toSeconds(v.Submitted),
		}
		if f := v.Failed; f != nil {
			r.Validation.Failed = &failureRecord{Kind: f.Kind.String(), Detail: f.Detail, At: toSeconds(f.At), Record: f.Record}
		}
	}
	r.Email = toEmail(d.Email)
	return encode(r)
}

// decodeDomain reads a record; nil if it is absent.
func decodeDomain(name identifier.Identifier, it Item) (*ra.Domain, error) {
	if !it.Found {
		return nil, nil
	}
	var r domainRecord
	err := decode(it.Value, &r)
	if err != nil {
		return nil, damaged(keyDomain(name), err)
	}
	d := &ra.Domain{
		Name: name, Number: ra.DomainNumber(r.Number), Org: auth.OrgID(r.Org), Description: r.Description, Created: r.Created.time(), Removed: r.Removed.time(),
		Suspended: r.Suspended.time(), Edits: r.Edits, Version: it.Version,
	}
	if d.Own, err = privileges(r.Own); err != nil {
		return nil, damaged(keyDomain(name), err)
	}
	for _, l := range r.Delegations {
		state := ra.DelegationState(l.State)
		switch state {
		case ra.DelegationRequested, ra.DelegationApproved, ra.DelegationRejected:
		default:
			return nil, damaged(keyDomain(name), fmt.Errorf("a delegation in an unknown state: %q", l.State))
		}
		list, err := privileges(l.Privileges)
		if err != nil {
			return nil, damaged(keyDomain(name), err)
		}
		d.Delegations = append(d.Delegations, ra.Delegation{
			Org: auth.OrgID(l.Org), State: state, Requested: l.Requested.time(), Decided: l.Decided.time(), Privileges: list,
		})
	}
	if r.Proof != nil {
		p, err := r.Proof.proof()
		if err == nil && p.Identifier != name {
			err = fmt.Errorf("a proof of another name")
		}
		if err != nil {
			return nil, damaged(keyDomain(name), err)
		}
		d.Proof = &p
	}
	if v := r.Validation; v != nil {
		d.Validation = &ra.DomainValidation{
			Method: dcv.Method(v.Method), Publication: dcv.Publication{Place: v.Place, Value: v.Value}, Begun: v.Begun.time(),
			Expires: v.Expires.time(), Due: v.Due.time(), Attempts: v.Attempts, Submitted: v.Submitted.time(),
		}
		if v.Submitted == 0 && (v.Due != 0 || v.Attempts > 0) {
			d.Validation.Submitted = d.Validation.Begun
		}
		if f := v.Failed; f != nil {
			d.Validation.Failed = &ra.DomainFailure{Kind: problem.ParseKind(f.Kind), Detail: f.Detail, At: f.At.time(), Record: f.Record}
		}
	}
	if d.Email, err = r.Email.validation(); err != nil {
		return nil, damaged(keyDomain(name), err)
	}
	return d, nil
}

func words(list []ra.Privilege) (out []string) {
	for _, p := range list {
		out = append(out, string(p))
	}
	return out
}

// privileges reads a list. One that is not known narrows nothing that could be told, so the record is taken for damaged.
func privileges(list []string) (out []ra.Privilege, err error) {
	for _, p := range list {
		out = append(out, ra.Privilege(p))
	}
	return out, ra.CheckPrivileges(out)
}
