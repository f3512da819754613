package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// A store can go back: an older copy was put in its place, a failover lost its last writes, it was emptied. The journals
// then give it back what was acknowledged, each gateway its own, in any order, some while others serve. Every entry only
// moves things forward, under the version that was read, so an entry that the store has already changes nothing, and
// gateways that replay at once do not disturb each other. replay_certificate.go has the rules for what two journals say.

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
	void  map[string]bool
	made  map[acme.AccountID]bool  // accounts that this replay put back, whose later edits are whole
	open  map[string]audit.Event   // announced signatures of which the journal does not say what became, by issuer/serial
	given map[string][]audit.Event // approvals by content, which the journal has not yet said to be used or declined
	spent map[string]time.Time     // by content, until when approvals were used or declined
	last  ra.ID                    // the highest enrollment number that the entries have named

	lastDomain ra.DomainNumber // the highest number of a domain that they have named

	numbered bool // the sequence of numbers stands behind last, or did when a number was last taken

	Changed int // entries that changed the store
}

// Replay begins a replay. abandoned reports all serials of the journal's "abandoned" entries, as "issuer/serial".
func (db *DB) Replay(abandoned map[string]bool) *Replay {
	return &Replay{db: db, void: abandoned, made: make(map[acme.AccountID]bool), open: make(map[string]audit.Event), given: make(map[string][]audit.Event),
		spent: make(map[string]time.Time)}
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
		r.use(e)
		change = r.signed
	case audit.Abandoned:
		delete(r.open, e.Issuer+"/"+e.Serial)
		change = r.abandoned
	case audit.Revoked:
		change = r.revoked
	case audit.RenewalSuggested:
		change = r.renewal
	case audit.EnrollmentEdited, audit.EnrollmentRemoved:
		change = r.details
	case audit.AccountMade, audit.AccountEdited:
		change = r.account
	case audit.AuthzGivenUp:
		change = r.givenUp
	case audit.Approved:
		return r.hold(e)
	case audit.Declined:
		r.withdraw(e)
		change = r.declined
	case audit.Cancelled:
		change = r.cancelled
	case audit.OrgMade, audit.OrgEdited:
		change = r.org
	case audit.EABKeyMade, audit.EABKeyEdited:
		change = r.eabKey
	case audit.DomainChanged:
		change = r.domain
	case audit.KeyStored, audit.KeyDestroyed:
		change = r.privateKey
	case audit.PrincipalMade, audit.PrincipalEdited:
		change = r.principal
	case audit.Imported:
		change = r.imported
	default:
		return nil
	}
	if err := r.give(ctx, e, change); err != nil {
		return fmt.Errorf("%s of %s: %w", e.Kind, e.Serial+e.Account, err)
	}
	return nil
}

// maxGives bounds how often one entry is given. Each time but the last somebody else's change was recorded first.
const maxGives = 20

// give makes a change, and again on what is then there if another gateway has moved the same record meanwhile.
func (r *Replay) give(ctx context.Context, e audit.Event, change func(context.Context, audit.Event) (bool, error)) error {
	ctx = untold(ctx)
	for attempt := 1; ; attempt++ {
		changed, err := change(ctx, e)
		switch {
		case err == nil && changed:
			r.Changed++
			return nil
		case err == nil || attempt == maxGives || !problem.Is(err, problem.Conflict):
			return err
		}
		r.numbered = false // it may have been the number
	}
}

// End closes what the journal announced and did not end: its process is dead, and what it may have signed must be on the
// CRL, whether or not the store had the intent. Then it lifts the sequence of enrollment numbers behind the last one seen,
// whether or not its record came back, and that of domains behind its last.
func (r *Replay) End(ctx context.Context) error {
	for _, e := range r.open {
		if err := r.give(ctx, e, r.unended); err != nil {
			return fmt.Errorf("closing %s: %w", e.Serial, err)
		}
	}
	if err := r.approve(ctx); err != nil {
		return err
	}
	if r.lastDomain > 0 {
		if err := r.db.engine.LiftID(ctx, seqDomain, int64(r.lastDomain)); err != nil {
			return unavailable(err)
		}
	}
	return r.db.renumber(ctx, r.last)
}

// account gives back an ACME account, by the rule that the door has for it.
func (r *Replay) account(ctx context.Context, e audit.Event) (bool, error) {
	said, err := acme.AccountFromEvent(e)
	if err != nil {
		return false, err
	}
	changed, err := r.giveAccount(ctx, said)
	if err != nil || said.Binding == nil {
		return changed, err
	}
	bound, err := r.binding(ctx, said)
	return changed || bound, err
}

func (r *Replay) giveAccount(ctx context.Context, said *acme.Account) (bool, error) {
	old, err := r.db.account(ctx, said.ID)
	if err != nil {
		return false, err
	}
	next := acme.Replayed(old, said, r.made[said.ID])
	switch {
	case next == nil:
		return false, nil
	case old != nil && next.Thumbprint != old.Thumbprint:
		return true, r.db.replayKey(ctx, next, old.Thumbprint)
	case old != nil:
		return true, r.db.UpdateAccount(ctx, next)
	}
	err = r.db.CreateAccount(ctx, next, nil)
	if problem.Is(err, problem.Conflict) { // the key has another account: the first one of a key stays
		return false, nil
	}
	r.made[said.ID] = err == nil
	return err == nil, err
}

// givenUp takes back an ACME authorization that a store which went back still has. Others are not brought back.
func (r *Replay) givenUp(ctx context.Context, e audit.Event) (bool, error) {
	next, err := acme.ReplayedAuthz(e, func(id acme.AuthzID) (*acme.Authorization, error) {
		found, err := r.db.authorizations(ctx, []acme.AuthzID{id})
		if err != nil {
			return nil, err
		}
		return found[0], nil
	})
	if err != nil || next == nil {
		return false, err
	}
	return true, r.db.DeactivateAuthorization(ctx, next)
}
