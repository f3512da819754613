package storage

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// A store can go back: an older copy was put in its place, a failover lost its last writes, it was emptied. The journal
// then gives it back what was acknowledged. Every entry only moves things forward, under the version that was read, so an
// entry that the store has already changes nothing, and gateways that replay at once do not disturb each other.

// Mark is how far a journal's entries are surely in the store.
type Mark struct {
	Seq  int64
	Hash [32]byte // of the entry's line; tells a journal that was changed from the one that was marked
}

type markRecord struct {
	Seq  int64  `cbor:"1,keyasint"`
	Hash []byte `cbor:"2,keyasint"`
}

func keyMark(journal string) Key { return Key("journal/" + journal) }

// JournalMark reads how far a journal is in the store; the zero Mark if the store knows nothing of it.
func (db *DB) JournalMark(ctx context.Context, journal string) (Mark, error) {
	items, err := db.read(ctx, keyMark(journal))
	if err != nil || !items[0].Found {
		return Mark{}, err
	}
	var r markRecord
	if err := decode(items[0].Value, &r); err != nil {
		return Mark{}, damaged(keyMark(journal), err)
	}
	m := Mark{Seq: r.Seq}
	copy(m.Hash[:], r.Hash)
	return m, nil
}

// SetJournalMark records how far a journal is in the store. Only the process that holds the journal may call it, with
// marks that rise.
func (db *DB) SetJournalMark(ctx context.Context, journal string, m Mark) error {
	value, err := encode(markRecord{Seq: m.Seq, Hash: m.Hash[:]})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{
		Puts: []Put{{Key: keyMark(journal), Value: value}},
		Adds: []Entry{{Index: indexJournals, Member: []byte(journal)}},
	})
}

// Journals lists the ids of the journals whose marks the store has, at most a thousand.
func (db *DB) Journals(ctx context.Context) ([]string, error) {
	members, err := db.engine.Scan(ctx, indexJournals, Range{}, Page{Limit: 1000})
	if err != nil {
		return nil, unavailable(err)
	}
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = string(m)
	}
	return ids, nil
}

// Replay applies the entries of one journal, in their order, to a store that may lack them.
type Replay struct {
	db *DB
	// Void are the serials, as issuer/serial, whose last word in the journal is "abandoned": a "signed" before it makes no
	// certificate.
	void map[string]bool
	made map[acme.AccountID]bool // accounts that this replay put back, whose later edits are whole
	open map[string]audit.Event  // announced signatures of which the journal does not say what became, by issuer/serial
	last ra.ID

	Changed int // entries that changed the store
}

// Replay begins a replay. abandoned reports all serials of the journal's "abandoned" entries, as "issuer/serial".
func (db *DB) Replay(abandoned map[string]bool) *Replay {
	return &Replay{db: db, void: abandoned, made: make(map[acme.AccountID]bool), open: make(map[string]audit.Event)}
}

// Apply gives one entry to the store. Entries of kinds that say nothing about the store's records change nothing.
func (r *Replay) Apply(ctx context.Context, e audit.Event) error {
	var change func(context.Context, audit.Event) (bool, error)
	switch e.Kind {
	case audit.WillSign:
		r.open[e.Issuer+"/"+e.Serial] = e
		return nil
	case audit.Signed:
		delete(r.open, e.Issuer+"/"+e.Serial)
		change = r.signed
	case audit.Abandoned:
		delete(r.open, e.Issuer+"/"+e.Serial)
		change = r.abandoned
	case audit.Revoked:
		change = r.revoked
	case audit.AccountMade, audit.AccountEdited:
		change = r.account
	default:
		return nil
	}
	if err := r.give(ctx, e, change); err != nil {
		return fmt.Errorf("%s of %s: %w", e.Kind, e.Serial+e.Account, err)
	}
	return nil
}

// give makes a change, and once more on what is then there if another gateway has moved the same record meanwhile.
func (r *Replay) give(ctx context.Context, e audit.Event, change func(context.Context, audit.Event) (bool, error)) error {
	for attempt := 1; ; attempt++ {
		changed, err := change(ctx, e)
		switch {
		case err == nil && changed:
			r.Changed++
			return nil
		case err == nil || attempt == 3 || !problem.Is(err, problem.Conflict):
			return err
		}
	}
}

// End closes what the journal announced and did not end: its process is dead, and what it may have signed must be on the
// CRL, whether or not the store had the intent. Then it lifts the sequence of enrollment numbers behind the last one seen,
// whether or not its record came back.
func (r *Replay) End(ctx context.Context) error {
	for _, e := range r.open {
		if err := r.give(ctx, e, r.abandoned); err != nil {
			return fmt.Errorf("closing %s: %w", e.Serial, err)
		}
	}
	if r.last > 0 {
		if err := r.db.engine.LiftID(ctx, seqEnrollment, int64(r.last)); err != nil {
			return unavailable(err)
		}
	}
	return r.db.liftNumbers(ctx)
}

// certificate reads the record an entry is about, nil if absent.
func (r *Replay) certificate(ctx context.Context, e audit.Event) (*ca.Certificate, error) {
	r.last = max(r.last, ra.ID(e.Enrollment))
	c, err := r.db.Certificate(ctx, e.Issuer, ca.Serial(e.Serial))
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	return c, err
}

func intentOf(e audit.Event) (ca.Intent, error) {
	in := ca.Intent{
		Issuer: e.Issuer, Serial: ca.Serial(e.Serial), NotAfter: e.NotAfter, Enrollment: e.Enrollment,
		Requester: policy.Requester{Org: e.Org, Door: e.Door, Principal: e.Actor}, Profile: e.Profile, ProfileHash: e.ProfileHash,
		Opened: e.At.UTC().Truncate(time.Second),
	}
	copy(in.TBSHash[:], e.Hash)
	for _, n := range e.Names {
		id, err := nameOf(n)
		if err != nil {
			return in, err
		}
		in.Names = append(in.Names, id)
	}
	return in, nil
}

func nameOf(text string) (identifier.Identifier, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return identifier.FromAddr(addr), nil
	}
	return identifier.ParseDNS(text)
}

// signed gives back a certificate and its enrollment, unless it was abandoned in the end.
func (r *Replay) signed(ctx context.Context, e audit.Event) (bool, error) {
	old, err := r.certificate(ctx, e)
	if err != nil || r.void[e.Issuer+"/"+e.Serial] || old != nil && old.State != ca.Open {
		return false, err
	}
	c, err := certificateOf(e)
	if err != nil {
		return false, err
	}
	b := &Batch{Adds: []Entry{{Index: indexIssuers, Member: []byte(c.Issuer)}}}
	key := keyCertificate(c.Issuer, c.Serial)
	if old == nil {
		b.Conditions = []Condition{{Key: key, Want: Absent}}
	} else {
		c.Opened = old.Opened
		b.Conditions = []Condition{{Key: key, Want: Equals, Version: old.Version}}
		b.Removes = []Entry{{Index: indexIntents, Member: intentMember(old.Intent)}}
	}
	if err := b.putCertificate(c); err != nil {
		return false, err
	}
	if err := r.enrollmentFor(ctx, b, c); err != nil {
		return false, err
	}
	return true, r.db.commit(ctx, b)
}

func certificateOf(e audit.Event) (*ca.Certificate, error) {
	in, err := intentOf(e)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(e.DER)
	if err != nil {
		return nil, err
	}
	in.TBSHash, in.NotBefore, in.NotAfter = sha256.Sum256(leaf.RawTBSCertificate), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	return &ca.Certificate{Intent: in, State: ca.Issued, DER: e.DER, Issued: in.Opened}, nil
}

// enrollmentFor adds to a batch the enrollment of a certificate that is given back: as it is, completed, or made anew.
func (r *Replay) enrollmentFor(ctx context.Context, b *Batch, c *ca.Certificate) error {
	before, err := r.db.Enrollment(ctx, ra.ID(c.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound):
		leaf, err := x509.ParseCertificate(c.DER)
		if err != nil {
			return err
		}
		before = &ra.Enrollment{
			ID: ra.ID(c.Enrollment), Org: auth.OrgID(c.Requester.Org), Door: ra.Door(c.Requester.Door), Requester: c.Requester.Principal,
			Profile: c.Profile, ProfileHash: c.ProfileHash, Names: c.Names, CommonName: leaf.Subject.CommonName, Created: c.Opened,
		}
	case err != nil:
		return err
	case before.Phase != ra.Requested: // another certificate is the enrollment's; this one is on record by its serial
		return nil
	}
	return b.putEnrollment((&ra.Issuance{Enrollment: before}).Completed(*c), before)
}

// abandoned closes a serial.
func (r *Replay) abandoned(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	switch {
	case err != nil:
		return false, err
	case c != nil && c.State == ca.Open:
		return true, r.db.AbandonIntent(ctx, c.Issuer, c.Serial, e.At)
	case c != nil:
		return false, nil
	}
	in, err := intentOf(e)
	if err != nil {
		return false, err
	}
	gone := &ca.Certificate{Intent: in, State: ca.Abandoned, Revocation: &ca.Revocation{At: in.Opened, Actor: "system"}}
	b := &Batch{
		Conditions: []Condition{{Key: keyCertificate(in.Issuer, in.Serial), Want: Absent}},
		Adds:       []Entry{revokedEntry(gone), {Index: indexIssuers, Member: []byte(in.Issuer)}},
	}
	if err := b.putCertificate(gone); err != nil {
		return false, err
	}
	return true, r.db.commit(ctx, b)
}

// revoked revokes a certificate again, or raises the reason (RFC 5280, 5.3.1: only to keyCompromise).
func (r *Replay) revoked(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	if err != nil || c == nil || c.State != ca.Issued {
		return false, err
	}
	next := ca.Revocation{At: e.At.UTC().Truncate(time.Second), Reason: ca.Reason(e.Reason), Actor: e.Actor}
	if old := c.Revocation; old != nil {
		if old.Reason == ca.KeyCompromise || next.Reason != ca.KeyCompromise {
			return false, nil
		}
		next.At = old.At
	}
	return true, r.db.RecordRevocation(ctx, *c, next)
}

// account gives back an ACME account, by the rule that the door has for it.
func (r *Replay) account(ctx context.Context, e audit.Event) (bool, error) {
	said, err := acme.AccountFromEvent(e)
	if err != nil {
		return false, err
	}
	old, err := r.db.account(ctx, said.ID)
	if err != nil {
		return false, err
	}
	next := acme.Replayed(old, said, r.made[said.ID])
	switch {
	case next == nil:
		return false, nil
	case old != nil:
		return true, r.db.UpdateAccount(ctx, next)
	}
	err = r.db.CreateAccount(ctx, next)
	if problem.Is(err, problem.Conflict) { // the key has another account: the first one of a key stays
		return false, nil
	}
	r.made[said.ID] = err == nil
	return err == nil, err
}
