package storage

import (
	"cmp"
	"maps"
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// detailsRecord is the part of an enrollment's record that says what goes with it.
type detailsRecord struct {
	KeptCSR              []byte           `cbor:"45,keyasint,omitempty"`
	Edits                int64            `cbor:"46,keyasint,omitempty"`
	Comments             string           `cbor:"47,keyasint,omitempty"`
	ExternalRequesters   []string         `cbor:"48,keyasint,omitempty"`
	AutoRenew            *autoRenewRecord `cbor:"49,keyasint,omitempty"`
	SuspendNotifications bool             `cbor:"50,keyasint,omitempty"`
	Locations            []locationRecord `cbor:"51,keyasint,omitempty"`
	LastLocation         int              `cbor:"52,keyasint,omitempty"`
	RenewedManually      seconds          `cbor:"53,keyasint,omitempty"`
	Removed              seconds          `cbor:"54,keyasint,omitempty"`
	Remover              string           `cbor:"55,keyasint,omitempty"`
	RevokeFrom           millis           `cbor:"56,keyasint,omitempty"`
	ReplaceReason        string           `cbor:"57,keyasint,omitempty"`
	Reissue              bool             `cbor:"58,keyasint,omitempty"`
}

// autoRenewRecord is an ra.AutoRenew with its ra.RenewalTrial.
type autoRenewRecord struct {
	On       bool           `cbor:"1,keyasint,omitempty"`
	Days     int            `cbor:"2,keyasint,omitempty"`
	Next     millis         `cbor:"3,keyasint,omitempty"`
	Attempts int            `cbor:"4,keyasint,omitempty"`
	Failure  *failureRecord `cbor:"5,keyasint,omitempty"`
	Done     bool           `cbor:"6,keyasint,omitempty"`
}

// locationRecord has its details as pairs in the order of their keys, so that equal facts are equal bytes however many there are.
type locationRecord struct {
	ID      int            `cbor:"1,keyasint"`
	Name    string         `cbor:"2,keyasint,omitempty"`
	Details []detailRecord `cbor:"3,keyasint,omitempty"`
}

type detailRecord struct {
	Key   string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint,omitempty"`
}

func toDetails(e *ra.Enrollment) detailsRecord {
	r := detailsRecord{
		KeptCSR: e.KeptCSR, Edits: e.Edits, Comments: e.Comments, ExternalRequesters: e.ExternalRequesters,
		SuspendNotifications: e.SuspendNotifications, LastLocation: e.LastLocation, RenewedManually: toSeconds(e.RenewedManually),
		Removed: toSeconds(e.Removed), Remover: e.Remover, RevokeFrom: toMillis(e.RevokeFrom), ReplaceReason: e.ReplaceReason, Reissue: e.Reissue,
	}
	if e.AutoRenew != (ra.AutoRenew{}) || e.Trial != (ra.RenewalTrial{}) {
		r.AutoRenew = &autoRenewRecord{On: e.AutoRenew.On, Days: e.AutoRenew.Days, Next: toMillis(e.Trial.Next), Attempts: e.Trial.Attempts, Done: e.Trial.Done}
		if f := e.Trial.Failure; f != nil {
			r.AutoRenew.Failure = &failureRecord{Kind: f.Kind.String(), Detail: f.Detail, At: toSeconds(f.At)}
		}
	}
	for _, l := range e.Locations {
		record := locationRecord{ID: l.ID, Name: l.Name}
		for _, key := range slices.Sorted(maps.Keys(l.Details)) {
			record.Details = append(record.Details, detailRecord{key, l.Details[key]})
		}
		r.Locations = append(r.Locations, record)
	}
	return r
}

func (r *detailsRecord) into(e *ra.Enrollment) {
	e.KeptCSR, e.Edits, e.Comments, e.ExternalRequesters = r.KeptCSR, r.Edits, r.Comments, r.ExternalRequesters
	e.SuspendNotifications, e.LastLocation, e.RenewedManually = r.SuspendNotifications, r.LastLocation, r.RenewedManually.time()
	e.Removed, e.Remover, e.RevokeFrom, e.ReplaceReason = r.Removed.time(), r.Remover, r.RevokeFrom.time(), r.ReplaceReason
	e.Reissue = r.Reissue
	if a := r.AutoRenew; a != nil {
		e.AutoRenew = ra.AutoRenew{On: a.On, Days: a.Days}
		e.Trial = ra.RenewalTrial{Next: a.Next.time(), Attempts: a.Attempts, Done: a.Done}
		if f := a.Failure; f != nil {
			e.Trial.Failure = &ra.Failure{Kind: problem.ParseKind(f.Kind), Detail: f.Detail, At: f.At.time()}
		}
	}
	for _, l := range r.Locations {
		location := ra.Location{ID: l.ID, Name: l.Name}
		for _, d := range l.Details {
			if location.Details == nil {
				location.Details = make(map[string]string, len(l.Details))
			}
			location.Details[d.Key] = d.Value
		}
		e.Locations = append(e.Locations, location)
	}
	slices.SortFunc(e.Locations, func(a, b ra.Location) int { return cmp.Compare(a.ID, b.ID) })
}
