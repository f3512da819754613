package ra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// An import goes to the store first, which decides between those that collide, and leaves a note there; the journal comes
// next, then the note goes, and then whoever asked is told. An entry holds the certificate and all that came with it, so it alone
// gives the enrollment back.

// importEntry is what the journal holds of an import beside the certificate (audit.Event.Data).
type importEntry struct {
	Created            time.Time           `json:"created"`
	Issuers            [][]byte            `json:"issuers,omitempty"` // DER
	Comments           string              `json:"comments,omitempty"`
	ExternalRequesters []string            `json:"externalRequesters,omitempty"`
	CustomFields       []policy.FieldValue `json:"customFields,omitempty"`
}

// importEvent is what the journal is told of an import.
func importEvent(i *Import, at time.Time) (audit.Event, error) {
	e := i.Enrollment
	data, err := json.Marshal(importEntry{
		Created: e.Created, Issuers: i.Issuers, Comments: e.Comments, ExternalRequesters: e.ExternalRequesters, CustomFields: e.CustomFields,
	})
	event := audit.Event{
		Kind: audit.Imported, At: at.UTC(), Actor: e.Requester, Org: int32(e.Org), Enrollment: int64(e.ID), Serial: string(e.Serial),
		Door: string(e.Door), Profile: e.Profile, DER: i.Certificate, Data: data, Detail: e.Authority,
	}
	for _, n := range e.Names {
		event.Names = append(event.Names, n.Value())
	}
	return event, err
}

// importOctets is what an entry takes in the journal, at most: octets in base64, names in quotes, and the rest, which is bounded.
func importOctets(e audit.Event) int {
	const rest = 3 << 10
	n := rest + (len(e.DER)+len(e.Data))/3*4
	for _, name := range e.Names {
		n += len(name) + 3
	}
	return n
}

// ImportFromEvent is the import that an event of kind Imported tells of, as it was recorded. Its Claim and Version are zero.
func ImportFromEvent(e audit.Event) (*Import, error) {
	if e.Kind != audit.Imported {
		return nil, fmt.Errorf("ra: a journal entry of kind %q holds no import", e.Kind)
	}
	var entry importEntry
	if err := json.Unmarshal(e.Data, &entry); err != nil {
		return nil, fmt.Errorf("ra: the import in a journal entry: %w", err)
	}
	one, err := parseImport(e.DER)
	if err != nil {
		return nil, fmt.Errorf("ra: the certificate in a journal entry: %w", err)
	}
	if e.Org <= 0 || e.Enrollment <= 0 || entry.Created.IsZero() || ca.SerialOf(one.cert.SerialNumber) != ca.Serial(e.Serial) {
		return nil, errors.New("ra: a journal entry of an import is not whole")
	}
	n := one.enrollment(ID(e.Enrollment), auth.OrgID(e.Org), entry.Created.UTC())
	n.Door, n.Requester, n.Profile = Door(e.Door), e.Actor, e.Profile
	n.Comments, n.ExternalRequesters, n.CustomFields = entry.Comments, entry.ExternalRequesters, entry.CustomFields
	return &Import{Enrollment: n, Certificate: one.cert.Raw, Issuers: entry.Issuers}, nil
}

// journalImports is the end of an import: the journal has it, then the notes in the store go.
func (r *Registrar) journalImports(ctx context.Context, list []*Import, noted time.Time) error {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	events := make([]audit.Event, len(list))
	notes := make([]ImportNote, len(list))
	for i, one := range list {
		var err error
		if events[i], err = importEvent(one, r.Now()); err != nil {
			return err
		}
		notes[i] = ImportNote{ID: one.Enrollment.ID, At: noted}
	}
	if err := r.Journal.Append(ctx, events...); err != nil {
		return errImportJournal(err)
	}
	if err := r.Store.ImportsJournaled(ctx, notes); err != nil { // they stay, and the journal will be told once more
		r.Log.Warn("notes about imports stay in the store", "imports", len(notes), "error", err)
	}
	return nil
}

// SettleImports tells this gateway's journal of all imports that a journal may lack. It is for the start of a process; later on
// [Registrar.Sweep] looks after those whose process died.
func (r *Registrar) SettleImports(ctx context.Context) error {
	return r.settleImports(ctx, time.Time{})
}

// settleBatch is how many notes are read at a time.
const settleBatch = 250

// settleImports tells this gateway's journal of imports that were noted at or before a time, all with the zero time, of which
// another's may not know.
func (r *Registrar) settleImports(ctx context.Context, before time.Time) error {
	for {
		notes, err := r.Store.UnjournaledImports(ctx, before, settleBatch)
		if err != nil || len(notes) == 0 {
			return err
		}
		for len(notes) > 0 {
			done, err := r.settleSome(ctx, notes)
			if err != nil {
				return err
			}
			notes = notes[done:]
		}
	}
}

// settleSome tells of the first notes, as many as one write of the journal takes, and reports how many those were.
func (r *Registrar) settleSome(ctx context.Context, notes []ImportNote) (done int, err error) {
	var events []audit.Event
	for octets := 0; done < len(notes); done++ {
		event, err := r.noted(ctx, notes[done])
		if err != nil {
			return 0, err
		}
		if event == nil {
			continue
		}
		if octets += importOctets(*event); octets > importBatchOctets && len(events) > 0 {
			break
		}
		events = append(events, *event)
	}
	if len(events) > 0 {
		if err := r.Journal.Append(ctx, events...); err != nil {
			return 0, errImportJournal(err)
		}
	}
	return done, r.Store.ImportsJournaled(ctx, notes[:done])
}

// noted is what the journal is told of a note; nil if the store went back, and what it lacks is the journals' to tell.
func (r *Registrar) noted(ctx context.Context, note ImportNote) (*audit.Event, error) {
	e, err := r.Store.Enrollment(ctx, note.ID)
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	events, err := r.importedBefore(ctx, e, r.Now())
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return &events[0], nil
}

// importedBefore is what has to stand before an entry about an enrollment that was imported: the import, which another gateway's
// journal may have told of. Of any other enrollment it is nothing.
func (r *Registrar) importedBefore(ctx context.Context, e *Enrollment, at time.Time) ([]audit.Event, error) {
	if !e.Imported {
		return nil, nil
	}
	certificate, issuers, err := r.ImportedCertificate(ctx, e)
	if err != nil {
		return nil, err
	}
	event, err := importEvent(&Import{Enrollment: e, Certificate: certificate, Issuers: issuers}, at)
	return []audit.Event{event}, err
}

func errImportJournal(err error) error {
	return problem.Wrap(err, problem.Unavailable, "the import could not be journaled; say it again later, which does no harm")
}

// unrecorded is what becomes of a certificate with the signature of one of our issuers of which there is no record: that must
// never happen, so the journal and whoever reads the log are told. Whoever showed it is told what anybody is told who shows
// another organisation's.
func (r *Registrar) unrecorded(ctx context.Context, caller auth.Caller, one *imported) error {
	if r.Now().After(one.cert.NotAfter.Add(RemovedRetention)) { // it may have been removed, and nothing is on record of such any more
		return errNotOurs
	}
	issuer, serial := r.Authority.SignedBy(one.cert), ca.SerialOf(one.cert.SerialNumber)
	r.Log.Error("a certificate was shown to us that an issuer of this gateway has signed and of which there is no record; revoke its issuer or find out how it came about",
		"issuer", issuer, "serial", serial, "shown by", caller.Principal, "organisation", one.org)
	err := r.Journal.Append(ctx, audit.Event{
		Kind: audit.Unrecorded, At: r.Now().UTC(), Actor: caller.Principal, Org: int32(one.org), Issuer: issuer, Serial: string(serial), DER: one.cert.Raw,
	})
	if err != nil {
		return errImportJournal(err)
	}
	return errNotOurs
}
