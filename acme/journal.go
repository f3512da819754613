package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// recordTimeout bounds a change that was begun: it is finished even if the client hangs up.
const recordTimeout = 10 * time.Second

// accountEntry is an account as the journal holds it (audit.Event.Data): every fact, for a replay.
type accountEntry struct {
	Key         json.RawMessage `json:"key"`
	Contacts    []string        `json:"contacts,omitempty"`
	TermsAgreed time.Time       `json:"termsAgreed,omitzero"`
	Created     time.Time       `json:"created"`
	Deactivated time.Time       `json:"deactivated,omitzero"`
}

// journalled makes a change to an account durable in journal and store at the same time. It succeeds only if both did.
func (s *Server) journalled(ctx context.Context, kind audit.Kind, a *Account, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	data, err := json.Marshal(accountEntry{a.Key, a.Contacts, a.TermsAgreed, a.Created, a.Deactivated})
	if err != nil {
		return err
	}
	event := audit.Event{
		Kind: kind, At: s.Now().UTC(), Actor: a.Principal(), Org: int32(a.Org), Account: string(a.ID), Data: data,
	}
	appended := make(chan error, 1)
	go func() { appended <- s.Journal.Append(ctx, event) }()
	err = write(ctx)
	if failed := <-appended; failed != nil {
		return problem.Wrap(errors.Join(failed, err), problem.Unavailable, "the change could not be recorded; try again later")
	}
	return err
}

// AccountFromEvent is the account after an event of kind AccountMade or AccountEdited, for a replay of the journal into
// a store that went back. Its Version is zero.
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
		Contacts: entry.Contacts, TermsAgreed: entry.TermsAgreed, Created: entry.Created, Deactivated: entry.Deactivated,
	}, nil
}
