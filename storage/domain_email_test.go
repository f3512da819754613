package storage_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestEmailLinks lead to their domain for as long as it has them, and a mail is there if its domain's change is.
func TestEmailLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx, name, at := t.Context(), names(t, "example.com")[0], now()
		with := func(edits int64, ids ...string) *ra.Domain {
			d := &ra.Domain{Name: name, Org: 1, Created: at, Edits: edits}
			if len(ids) > 0 {
				d.Email = &ra.EmailValidation{Begun: at, Expires: at.Add(time.Hour), Outcome: ra.EmailPending}
			}
			for _, id := range ids {
				d.Email.Links = append(d.Email.Links, ra.EmailLink{ID: id, Address: "admin@example.com", Method: dcv.EmailConstructed, Sent: at, Sends: 1})
			}
			return d
		}
		leads := func(when string, want map[string]bool) {
			t.Helper()
			for id, is := range want {
				if d, err := db.DomainOfEmailLink(ctx, id); err != nil || (d != nil) != is || is && d.Name != name {
					t.Errorf("%s: the link %s leads to %+v, %v", when, id, d, err)
				}
			}
		}
		mail := func(id string) *ra.Mail {
			return &ra.Mail{ID: id, Org: 1, Kind: ra.MailDomainValidation, To: "admin@example.com", Sealed: []byte("sealed"), Created: at, Until: at.Add(time.Hour)}
		}
		mails := func(want int) {
			t.Helper()
			if list, err := db.Mails(ctx, false, nil, 10); err != nil || len(list) != want {
				t.Errorf("%d mails, %v; want %d", len(list), err, want)
			}
		}
		first := with(1, "a", "b")
		must(t, db.PutDomain(ctx, first, nil, at, mail("mail-a"), mail("mail-b")))
		leads("begun", map[string]bool{"a": true, "b": true, "c": false})
		mails(2)
		second := with(2, "b", "c")
		must(t, db.PutDomain(ctx, second, first, time.Time{}))
		leads("begun anew", map[string]bool{"a": false, "b": true, "c": true})
		conflicts(t, "what was changed", db.PutDomain(ctx, with(3, "d"), first, at, mail("mail-d")))
		leads("a conflict", map[string]bool{"c": true, "d": false})
		mails(2)
		third := with(3)
		third.Removed = at
		must(t, db.PutDomain(ctx, third, second, time.Time{}))
		leads("removed", map[string]bool{"a": false, "b": false, "c": false})
	})
}
