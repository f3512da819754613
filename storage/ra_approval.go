package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// standingRetention is how long it is kept what there is about a content, beyond its newest event: longer than a request may
// wait for approvals and then for its client.
const standingRetention = 2*policy.MaxApprovalLifetime + 24*time.Hour

// standingRecord is what there is about a content that needs approvals, under the content.
type standingRecord struct {
	Enrollment int64            `cbor:"1,keyasint,omitempty"` // the newest
	Approvals  []approvalRecord `cbor:"2,keyasint,omitempty"` // without an enrollment: given back by a replay
	Declined   seconds          `cbor:"3,keyasint,omitempty"` // without an enrollment: approvals up to then are void
}

// approvalRecord is a policy.Approval, whose content is that of what holds it.
type approvalRecord struct {
	Approver string  `cbor:"1,keyasint"`
	At       seconds `cbor:"2,keyasint"`
	Message  string  `cbor:"3,keyasint,omitempty"`
}

func toApprovals(list []policy.Approval) []approvalRecord {
	var out []approvalRecord
	for _, a := range list {
		out = append(out, approvalRecord{a.Approver, toSeconds(a.At), a.Message})
	}
	return out
}

func fromApprovals(list []approvalRecord, content string) []policy.Approval {
	var out []policy.Approval
	for _, a := range list {
		out = append(out, policy.Approval{Content: content, Approver: a.Approver, At: a.At.time(), Message: a.Message})
	}
	return out
}

// putStanding makes an enrollment the newest of its content, if the content's record is as it was read.
func (b *Batch) putStanding(e *ra.Enrollment, mark [16]byte) error {
	key := keyStanding(e.Content)
	if mark == [16]byte{} {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Absent})
	} else {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Equals, Version: mark})
	}
	return b.holdStanding(e)
}

// holdStanding is putStanding whatever there was: the newest certificate of a content is the one that is renewed freely. It is
// kept as long as that is valid.
func (b *Batch) holdStanding(e *ra.Enrollment) error {
	value, err := encode(standingRecord{Enrollment: int64(e.ID)})
	if err != nil {
		return err
	}
	until := e.Created.Add(standingRetention)
	if end := e.NotAfter.Add(24 * time.Hour); end.After(until) {
		until = end
	}
	b.Puts = append(b.Puts, Put{Key: keyStanding(e.Content), Value: value, Expires: until})
	return nil
}

func (db *DB) standing(ctx context.Context, content string) (r standingRecord, version Version, err error) {
	items, err := db.read(ctx, keyStanding(content))
	if err != nil || !items[0].Found {
		return r, version, err
	}
	if err := decode(items[0].Value, &r); err != nil {
		return r, version, damaged(keyStanding(content), err)
	}
	return r, items[0].Version, nil
}

// Standing implements ra.Store. An enrollment counts only if it is about the content itself: in a store that went back its
// number can be another's.
func (db *DB) Standing(ctx context.Context, content string) (ra.Standing, error) {
	r, version, err := db.standing(ctx, content)
	if err != nil {
		return ra.Standing{}, err
	}
	s := ra.Standing{Approvals: fromApprovals(r.Approvals, content), Mark: version}
	if r.Enrollment == 0 {
		return s, nil
	}
	e, err := db.Enrollment(ctx, ra.ID(r.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound):
		return s, nil
	case err != nil:
		return ra.Standing{}, err
	case e.Content == content:
		s.Enrollment = e
	}
	return s, nil
}

// MoveEnrollment implements ra.Store.
func (db *DB) MoveEnrollment(ctx context.Context, next, e *ra.Enrollment, fact any) error {
	b := &Batch{}
	if err := b.putEnrollment(next, e); err != nil {
		return err
	}
	if err := begin(b, fact); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	next.Version = b.Version
	return nil
}
