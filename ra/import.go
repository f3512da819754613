package ra

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// A certificate that somebody else has issued becomes an enrollment like those of our own: it is listed and found, its end is
// known, its bytes can be collected. Nothing here answers for it: it has no issuer of ours, so there is no CRL, no renewal
// information and no revocation of it, and it counts towards no quota, which bounds what is issued under a profile: imports
// have bounds of their own.
//
// One certificate is one enrollment of an organisation, however often and by how many it is imported at once; two
// organisations that import the same certificate know nothing of each other.

const (
	// MaxImports is how many certificates one call takes.
	MaxImports = 1000
	// MaxImported is the most octets that an imported certificate, or an issuer's that comes with it, may have in DER.
	MaxImported = 64 << 10
	// MaxImportedIssuers is how many issuers' certificates may come with one.
	MaxImportedIssuers = 10

	// A batch is what is recorded in one commit and one write of the journal, which takes 4 MiB. importBatchOctets are of the journal;
	// the largest entry that there can be has 2 MiB.
	importBatch       = 250
	importBatchNames  = 2500
	importBatchOctets = 3 << 20
)

// ImportItem is one certificate to be imported.
type ImportItem struct {
	Org         auth.OrgID // that is to have it; zero: the caller's
	Certificate []byte     // DER
	// Issuers are certificates in DER, in any order, of which those are kept that lead from the certificate upwards.
	Issuers [][]byte
	Profile string // under which it is listed; may be empty

	// What goes with an enrollment, as [Registrar.Update] has it. Custom fields need a profile, which says what they may be; which
	// of them a request must have does not matter, because nothing is requested.
	Comments           string
	ExternalRequesters []string
	CustomFields       []policy.FieldValue
}

// ImportResult says what became of one item.
type ImportResult struct {
	Enrollment *Enrollment // nil with Err
	Created    bool        // false: it was there already
	Ignored    int         // names that the certificate has and the enrollment has not: neither host names nor addresses, or too many
	Err        error       // a *problem.Error that begins with the item's field; nothing was recorded
}

// Import brings certificates that were issued elsewhere into the inventory, for an operator or a principal that may request in
// the organisations. The results are in the items' order, and a bad item leaves the others alone. What a result calls created
// or there already is in store and journal on return. A certificate of one of our own issuers is there already for the
// organisation it was issued to, and refused for every other.
//
// What an organisation may have of imports is bounded ([Config.ImportBounds]); a certificate beyond that is RateLimited.
//
// An error means that nothing was looked at: TooLarge for more than MaxImports items, Unauthorized for a caller of another
// kind. A store or journal that fails is the result, Unavailable, of every item that it leaves open; saying it again does no
// harm.
func (r *Registrar) Import(ctx context.Context, caller auth.Caller, door Door, items []ImportItem) ([]ImportResult, error) {
	switch {
	case len(items) > MaxImports:
		return nil, problem.New(problem.TooLarge, "%d certificates are too many for one import; send at most %d at a time", len(items), MaxImports)
	case caller.Principal == "" || !caller.Operator && !caller.IsPrincipal():
		return nil, problem.New(problem.Unauthorized, "only principals and operators import certificates")
	case r.Journal == nil:
		return nil, problem.New(problem.Unavailable, "nothing can be imported where there is no journal")
	}
	results := make([]ImportResult, len(items))
	list := make([]*imported, 0, len(items))
	for i, item := range items {
		one, err := r.readImport(caller, item)
		if err != nil {
			results[i].Err = err
			continue
		}
		one.result = &results[i]
		list = append(list, one)
	}
	// What is recorded together is of one organisation.
	slices.SortStableFunc(list, func(a, b *imported) int { return cmp.Compare(a.org, b.org) })
	batch := importing{r: r, caller: caller, door: door}
	for _, one := range list {
		if !batch.fits(one) {
			batch.finish(ctx)
		}
		batch.add(one)
	}
	batch.finish(ctx)
	return results, nil
}

// readImport checks all of an item that can be checked without the store.
func (r *Registrar) readImport(caller auth.Caller, item ImportItem) (*imported, error) {
	org := cmp.Or(item.Org, caller.Org)
	absent := problem.New(problem.NotFound, "org: there is no organisation %d", org)
	if org <= 0 {
		return nil, absent
	}
	if err := r.may(caller, auth.Request, org, absent); err != nil {
		return nil, err
	}
	item, err := r.checkImportNotes(org, item)
	if err != nil {
		return nil, err
	}
	one, err := parseImport(item.Certificate)
	if err != nil {
		return nil, err
	}
	if one.issuers, err = one.chain(item.Issuers); err != nil {
		return nil, err
	}
	one.item, one.org = item, org
	event, err := importEvent(&Import{Enrollment: one.noted(one.enrollment(0, org, r.Now())), Certificate: one.cert.Raw, Issuers: one.issuers}, r.Now())
	one.octets = importOctets(event)
	return one, err
}

// checkImportNotes holds what is to go with an enrollment to its bounds.
func (r *Registrar) checkImportNotes(org auth.OrgID, item ImportItem) (ImportItem, error) {
	profile, ok := r.Profiles[item.Profile]
	switch {
	case item.Profile != "" && (!ok || !r.Allowed(org, item.Profile)):
		return item, problem.New(problem.Unauthorized, "profile: %q is not available to this organisation; leave it out or name another", item.Profile)
	case len(item.CustomFields) == 0:
	case !ok:
		return item, problem.New(problem.Malformed, "custom fields: name the profile that says what they may be, or leave them out")
	default:
		var err error
		if item.CustomFields, err = profile.CustomFields(string(DoorACME), item.CustomFields); err != nil { // a door that demands none
			return item, err
		}
	}
	return item, cmp.Or(checkComments(item.Comments), checkAddresses(item.ExternalRequesters))
}

// importing is a batch that is being gathered.
type importing struct {
	r      *Registrar
	caller auth.Caller
	door   Door

	list   []*imported
	names  int
	octets int
}

// fits reports whether one more stays within a batch's bounds.
func (b *importing) fits(one *imported) bool {
	if len(b.list) > 0 && b.list[0].org != one.org {
		return false
	}
	return len(b.list) < importBatch && b.names+len(one.names) <= importBatchNames && b.octets+one.octets <= importBatchOctets
}

func (b *importing) add(one *imported) {
	b.list = append(b.list, one)
	b.names, b.octets = b.names+len(one.names), b.octets+one.octets
}

// finish records what was gathered and begins anew. A failure is every open item's result.
func (b *importing) finish(ctx context.Context) {
	if len(b.list) == 0 {
		return
	}
	if err := b.record(ctx); err != nil {
		for _, one := range b.list {
			if one.result.Err == nil {
				*one.result = ImportResult{Err: err}
			}
		}
	}
	b.list, b.names, b.octets = nil, 0, 0
}

// record sorts the batch by what there is already and what is too much, and records the rest. Whoever else imports the same, or for the same
// organisation, at this moment is seen in the next round.
func (b *importing) record(ctx context.Context) error {
	bounds := b.r.ImportBounds(b.list[0].org)
	for try := 1; ; try++ {
		fresh, err := b.sort(ctx)
		if err != nil {
			return err
		}
		if fresh, err = b.within(ctx, bounds, fresh); err != nil {
			return err
		}
		list, err := b.enroll(ctx, fresh)
		if err != nil {
			return err
		}
		noted := b.r.Now().UTC().Truncate(time.Millisecond)
		err = b.r.Store.RecordImports(ctx, list, noted, bounds)
		if (problem.Is(err, problem.Conflict) || problem.Is(err, problem.RateLimited)) && try < moveTries {
			continue
		} else if err != nil {
			return err
		}
		if err := b.r.journalImports(ctx, list, noted); err != nil {
			return err
		}
		for i, one := range fresh {
			*one.result = ImportResult{Enrollment: list[i].Enrollment, Created: true, Ignored: one.ignored}
		}
		b.twice()
		return nil
	}
}

// sort gives their results to those that are there already and to those that cannot be imported, and the others back, each
// certificate of an organisation once.
func (b *importing) sort(ctx context.Context) (fresh []*imported, err error) {
	open := make([]*imported, 0, len(b.list))
	keys := make([]ImportKey, 0, len(b.list))
	for _, one := range b.list {
		if one.result.Err == nil {
			open = append(open, one)
			keys = append(keys, one.key())
		}
	}
	found, err := b.r.Store.Imports(ctx, keys)
	if err != nil {
		return nil, err
	}
	seen := map[ImportKey]bool{}
	there := false
	for i, one := range open {
		one.claim, one.known = found[i].Claim, nil
		switch e := found[i]; {
		case e.Recorded != nil:
			one.known, one.result.Err = b.recorded(one, e.Recorded)
		case b.r.Authority.SignedBy(one.cert) != "":
			one.result.Err = b.r.unrecorded(ctx, b.caller, one)
		case e.Imported != nil && e.Imported.Removed.IsZero():
			one.known, there = e.Imported, true
		case !seen[keys[i]]:
			seen[keys[i]] = true
			fresh = append(fresh, one)
		}
		if one.known != nil {
			*one.result = ImportResult{Enrollment: one.known, Ignored: one.ignored}
		}
	}
	if there { // by somebody who may not have lived to tell the journal
		return fresh, b.r.settleImports(ctx, time.Time{})
	}
	return fresh, nil
}

// within gives their refusals to those for which the bounds leave no room, and the others back.
func (b *importing) within(ctx context.Context, bounds ImportBounds, fresh []*imported) ([]*imported, error) {
	if bounds.IsZero() || len(fresh) == 0 {
		return fresh, nil
	}
	list := make([]*Import, len(fresh))
	for i, one := range fresh {
		list[i] = &Import{Issuers: one.issuers}
	}
	use, err := b.r.Store.ImportUse(ctx, fresh[0].org, list)
	if err != nil {
		return nil, err
	}
	var fits []*imported
	for i, err := range bounds.Check(use, list) {
		if err == nil {
			fits = append(fits, fresh[i])
			continue
		}
		fresh[i].result.Err = err
	}
	return fits, nil
}

// errNotOurs is for a certificate of one of our issuers, whether another organisation has it or nobody.
var errNotOurs = problem.New(problem.Conflict, "certificate: it has the signature of an issuer of this gateway, and was not issued to this organisation; it cannot be imported")

// recorded is what becomes of a certificate that was issued here.
func (b *importing) recorded(one *imported, e *Enrollment) (*Enrollment, error) {
	switch {
	case e.Org != one.org:
		return nil, errNotOurs
	case !e.Removed.IsZero():
		return nil, problem.New(problem.Conflict, "certificate: it was issued here and has been removed from the inventory; it cannot be imported")
	default:
		return e, nil
	}
}

// enroll makes the enrollments of certificates that are new.
func (b *importing) enroll(ctx context.Context, fresh []*imported) ([]*Import, error) {
	now := b.r.Now().UTC().Truncate(time.Second)
	list := make([]*Import, 0, len(fresh))
	for _, one := range fresh {
		id, err := b.r.Store.NextEnrollment(ctx)
		if err != nil {
			return nil, err
		}
		e := one.noted(one.enrollment(id, one.org, now))
		e.Door, e.Requester, e.Profile = b.door, b.caller.Principal, one.item.Profile
		list = append(list, &Import{Enrollment: e, Certificate: one.cert.Raw, Issuers: one.issuers, Claim: one.claim})
	}
	return list, nil
}

// noted gives an enrollment what its certificate came with.
func (i *imported) noted(e *Enrollment) *Enrollment {
	e.Comments, e.ExternalRequesters, e.CustomFields = i.item.Comments, i.item.ExternalRequesters, i.item.CustomFields
	return e
}

// twice gives those that stand in the batch more than once the enrollment of the first.
func (b *importing) twice() {
	first, refused := map[ImportKey]*Enrollment{}, map[ImportKey]error{}
	for _, one := range b.list {
		switch {
		case one.result.Err != nil:
			refused[one.key()] = one.result.Err
		case one.result.Enrollment != nil:
			first[one.key()] = one.result.Enrollment
		case one.result.Err == nil && first[one.key()] != nil:
			*one.result = ImportResult{Enrollment: first[one.key()], Ignored: one.ignored}
		case one.result.Err == nil:
			one.result.Err = refused[one.key()]
		}
	}
}
