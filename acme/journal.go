package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Accounts are in the store and in the journal. The journal must hold whatever was said about an account, since from it a
// store that went back is given what it lacks; and it must hold nothing else, since that would be given back too.
//
// So a change goes to the store first, which decides between changes that collide, and what it took goes to the journal.
// The client hears of it after both. If the journal fails, or the process dies in between, the change is in the store and
// nobody was told. Whoever then asks would be told: by the same request sent again, which finds nothing left to do, by
// reading the account, or by a 401 because it is deactivated. Therefore an account is shown to a client only in a version
// that this process knows to be in the journal, and one of which it does not know that is put there first
// ([Server.affirm]). It knows what it has put there itself, under the version that the store gave it, and nothing beyond
// that: not what another process did, not what was before it started, and not what it has not seen for long. What it does
// not know costs one more entry, and an entry that says again what the journal says already does no harm.
//
// Changes to one account take turns in this process from the store's commit to the end of the journal's, so that of two
// entries the later one is about the newer version.

// recordTimeout bounds a change that was begun: it is finished even if the client hangs up.
const recordTimeout = 10 * time.Second

// record makes a change to an account: write commits it to the store under the account's version. It is durable in both
// store and journal on return; the errors are write's own, and Unavailable if only the journal lacks it.
func (s *Server) record(ctx context.Context, kind audit.Kind, a *Account, write func(context.Context) error) error {
	return s.recordAs(ctx, a.Principal(), kind, a, write)
}

// recordAs is record for a change by somebody else than the account.
func (s *Server) recordAs(ctx context.Context, actor string, kind audit.Kind, a *Account, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	leave, err := s.journaled.turn(ctx, a.ID)
	if err != nil {
		return errNotRecorded(err)
	}
	defer leave()
	if err := write(ctx); err != nil {
		return err
	}
	return s.journalAccount(ctx, kind, a, actor)
}

// affirm is an account as it stands, once the journal surely holds that. Every answer that shows an account, or that it
// is deactivated, is about the result.
func (s *Server) affirm(ctx context.Context, a *Account) (*Account, error) {
	if s.journaled.has(a) {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	leave, err := s.journaled.turn(ctx, a.ID)
	if err != nil {
		return nil, errNotRecorded(err)
	}
	defer leave()
	// Read in our turn: what was read before may be older by now than the journal's last entry.
	read, err := s.reread(ctx, Admission{Account: a.ID})
	now := read.Account
	switch {
	case err != nil:
		return nil, err
	case now == nil:
		return nil, errNoAccount
	case now.Thumbprint != a.Thumbprint: // RFC 8555, 7.3.5: whoever asks has the old key
		return nil, errKeyChanged
	case s.journaled.has(now):
		return now, nil
	}
	return now, s.journalAccount(ctx, audit.AccountEdited, now, now.Principal())
}

// journalAccount appends an account as the store has it. The caller has its turn, and says who has changed it.
func (s *Server) journalAccount(ctx context.Context, kind audit.Kind, a *Account, actor string) error {
	data, err := json.Marshal(accountEntry{a.Key, a.Rollovers, a.Contacts, a.TermsAgreed, a.Terms, a.Created, a.Deactivated, a.Binding.entry()})
	if err != nil {
		return err
	}
	event := audit.Event{
		Kind: kind, At: s.Now().UTC(), Actor: actor, Org: int32(a.Org), Account: string(a.ID), Data: data,
	}
	if err := s.Journal.Append(ctx, event); err != nil {
		return errNotRecorded(err)
	}
	s.journaled.add(a)
	return nil
}

func errNotRecorded(err error) error {
	return problem.Wrap(err, problem.Unavailable, "the account's state could not be recorded; try again later")
}

// accountEntry is an account as the journal holds it (audit.Event.Data): every fact that the event itself does not name.
type accountEntry struct {
	Key         json.RawMessage `json:"key"`
	Rollovers   int64           `json:"rollovers,omitzero"`
	Contacts    []string        `json:"contacts,omitempty"`
	TermsAgreed time.Time       `json:"termsAgreed,omitzero"`
	Terms       string          `json:"terms,omitzero"`
	Created     time.Time       `json:"created"`
	Deactivated time.Time       `json:"deactivated,omitzero"`
	Binding     *bindingEntry   `json:"binding,omitempty"`
}

// bindingEntry is an external account binding as the journal holds it, with what it restricts.
type bindingEntry struct {
	KeyID    string          `json:"keyID"`
	JWS      json.RawMessage `json:"jws"`
	Profiles []string        `json:"profiles,omitempty"`
	Names    []string        `json:"names,omitempty"`

	ByDomains bool `json:"byDomains,omitempty"`
}

func (b *Binding) entry() *bindingEntry {
	if b == nil {
		return nil
	}
	return &bindingEntry{b.KeyID, b.JWS, b.Restriction.Profiles, b.Restriction.Names, b.Restriction.ByDomains}
}

func (e *bindingEntry) binding() *Binding {
	if e == nil {
		return nil
	}
	return &Binding{KeyID: e.KeyID, JWS: e.JWS, Restriction: policy.Restriction{Profiles: e.Profiles, Names: e.Names, ByDomains: e.ByDomains}}
}

// AccountFromEvent is the account after an event of kind AccountMade or AccountEdited, for a replay of the journal into
// a store that went back: all of it, whichever kind, so that any one entry is enough to give an account back. Its Version
// is zero, because a store gives its own. [Replayed] says what becomes of it.
func AccountFromEvent(e audit.Event) (*Account, error) {
	if e.Kind != audit.AccountMade && e.Kind != audit.AccountEdited {
		return nil, fmt.Errorf("acme: a journal entry of kind %q holds no account", e.Kind)
	}
	var entry accountEntry
	if err := json.Unmarshal(e.Data, &entry); err != nil {
		return nil, fmt.Errorf("acme: the account in a journal entry: %w", err)
	}
	key, err := jws.ParsePublicKey(entry.Key)
	if err != nil {
		return nil, fmt.Errorf("acme: the account in a journal entry: %w", err)
	}
	if e.Account == "" || e.Org <= 0 {
		return nil, fmt.Errorf("acme: a journal entry of kind %q names no account or organisation", e.Kind)
	}
	return &Account{
		ID: AccountID(e.Account), Org: auth.OrgID(e.Org), Key: key.Marshal(), Thumbprint: key.Thumbprint(),
		Rollovers: entry.Rollovers, Contacts: entry.Contacts, TermsAgreed: entry.TermsAgreed, Terms: entry.Terms,
		Created: entry.Created, Deactivated: entry.Deactivated,
		Binding: entry.Binding.binding(),
	}, nil
}

// Replayed is what a replay of one journal, entry by entry from the oldest, makes of an account: have is the account of
// that ID in the store, nil if there is none, and said what the entry says (AccountFromEvent). The result is to be written
// under have's Version; nil means that there is nothing to write.
//
//   - An account that the store lacks comes back as said, unless its key has another account: the first account of a key
//     stays (CreateAccount refuses the second with Conflict).
//   - An account that this replay gave back (restored) follows the later entries: the last one wins.
//   - An account that the store had is only deactivated. It may be newer than this journal: other processes have theirs.
//   - A key that was changed stays changed (RFC 8555, 7.3.5): of two keys the one with more rollovers before it holds, in
//     any account. The result then has another Thumbprint than have, and is to be written so that the old key is refused.
//   - Nothing takes a deactivation back (RFC 8555, 7.3.6), and the organisation stays what it was.
//   - An account that was bound stays bound (RFC 8555, 7.3.4): if it was made again without its binding, in the same
//     organisation, it gets it, and what it restricts.
//
// An entry that says what the store has already changes nothing, so repeated entries and repeated replays do no harm.
func Replayed(have, said *Account, restored bool) *Account {
	if have == nil {
		return said
	}
	next := have.clone()
	if have.Deactivated.IsZero() {
		next.Deactivated = said.Deactivated
	}
	if said.Rollovers > have.Rollovers {
		next.Key, next.Thumbprint, next.Rollovers = slices.Clone(said.Key), said.Thumbprint, said.Rollovers
	}
	if have.Binding == nil && said.Org == have.Org {
		next.Binding = said.Binding
	}
	if restored {
		next.Contacts, next.TermsAgreed, next.Terms = slices.Clone(said.Contacts), said.TermsAgreed, said.Terms
	}
	if next.Binding == have.Binding && next.Rollovers == have.Rollovers && next.Terms == have.Terms && next.Deactivated.Equal(have.Deactivated) && next.TermsAgreed.Equal(have.TermsAgreed) && slices.Equal(next.Contacts, have.Contacts) {
		return nil
	}
	return next
}
