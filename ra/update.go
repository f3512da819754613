package ra

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxComments is how long the comments on an enrollment may be, in characters.
	MaxComments = 1024
	// MaxExternalRequesters is how many an enrollment can have.
	MaxExternalRequesters = 20
	// MaxRenewDays is the longest time before its end that an enrollment renews itself, in days.
	MaxRenewDays = 365
)

// Changes are what is to be changed of what goes with an enrollment. Nil leaves it as it is. Nothing of it decides what is
// issued, so that names, profile, key and validity cannot be among it: they take a new request. That is why no change voids an
// approval; custom fields, which people look at when they decide, cannot be changed until they have.
type Changes struct {
	Version              [16]byte // that the enrollment must have, as the caller read it; zero: any
	Comments             *string
	ExternalRequesters   *[]string // mail addresses
	CustomFields         *[]policy.FieldValue
	AutoRenew            *AutoRenew
	SuspendNotifications *bool
}

// Update changes what goes with an enrollment: all of it or, on an error, nothing. Saying it again changes nothing. Durable in
// store and journal on return.
//
// Errors: NotFound for an enrollment that the caller may not know of; Unauthorized for one who may not ask for certificates
// there, and, of whether it renews itself, for one who neither asked for it nor looks after others' ([auth.ManageEnrollments]);
// Malformed, naming the member; Conflict if the version is another one by now, or if it is not the time for a change.
func (r *Registrar) Update(ctx context.Context, caller auth.Caller, id ID, c Changes) (*Enrollment, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return r.edit(ctx, caller, id, "updated", func(e *Enrollment) (any, error) {
		if c.Version != [16]byte{} && c.Version != e.Version {
			return nil, problem.New(problem.Conflict, "enrollment %d has been changed since it was read; read it again", id)
		}
		if c.AutoRenew != nil && *c.AutoRenew != e.AutoRenew {
			if err := r.mayManage(caller, e); err != nil {
				return nil, err
			}
		}
		return nil, r.apply(c, e)
	})
}

// check holds what is given to its form.
func (c *Changes) check() error {
	if c.Comments != nil {
		if err := checkComments(*c.Comments); err != nil {
			return err
		}
	}
	if c.ExternalRequesters != nil {
		if err := checkAddresses(*c.ExternalRequesters); err != nil {
			return err
		}
	}
	if a := c.AutoRenew; a != nil && (a.Days < 0 || a.Days > MaxRenewDays || a.On && a.Days == 0) {
		return problem.New(problem.Malformed, "the days before its end at which it is to be renewed are %d; give 1 to %d", a.Days, MaxRenewDays)
	}
	return nil
}

// apply makes the changes to an enrollment, as far as its phase and its profile allow them.
func (r *Registrar) apply(c Changes, e *Enrollment) error {
	if c.Comments != nil {
		e.Comments = *c.Comments
	}
	if c.ExternalRequesters != nil {
		e.ExternalRequesters = slices.Clone(*c.ExternalRequesters)
	}
	if c.SuspendNotifications != nil {
		e.SuspendNotifications = *c.SuspendNotifications
	}
	if c.CustomFields != nil {
		if err := r.applyFields(*c.CustomFields, e); err != nil {
			return err
		}
	}
	if c.AutoRenew != nil && *c.AutoRenew != e.AutoRenew {
		if err := r.renewsItself(e); c.AutoRenew.On && err != nil {
			return err
		}
		e.AutoRenew, e.Trial = *c.AutoRenew, RenewalTrial{}
	}
	return nil
}

// applyFields changes custom fields, unless people are looking at them to decide.
func (r *Registrar) applyFields(values []policy.FieldValue, e *Enrollment) error {
	switch e.Phase {
	case Validating, Waiting, Approved, Requested:
		return problem.New(problem.Conflict, "the custom fields of enrollment %d are what it is decided by; change them once it is issued, or make a new request", e.ID)
	}
	profile, ok := r.Profiles[e.Profile]
	if !ok {
		return problem.New(problem.Conflict, "the profile %q of enrollment %d is not configured any more, so that nothing says what its custom fields may be", e.Profile, e.ID)
	}
	checked, err := profile.CustomFields(string(e.Door), values)
	if err != nil {
		return err
	}
	e.CustomFields = checked
	return nil
}

// checkLine holds text to one line of at most so many characters.
func checkLine(member, text string, most int) error {
	switch {
	case !utf8.ValidString(text) || utf8.RuneCountInString(text) > most:
		return problem.New(problem.Malformed, "%s must be at most %d characters of UTF-8", member, most)
	case strings.ContainsFunc(text, unicode.IsControl):
		return problem.New(problem.Malformed, "%s must be one line without control characters", member)
	}
	return nil
}

// checkComments permits several lines.
func checkComments(text string) error {
	if !utf8.ValidString(text) { // which strings.Map would mend
		return checkLine("comments", text, MaxComments)
	}
	flat := strings.Map(func(c rune) rune {
		if c == '\n' || c == '\r' || c == '\t' {
			return ' '
		}
		return c
	}, text)
	return checkLine("comments", flat, MaxComments)
}

const (
	maxLocalPart = 64  // RFC 5321, 4.5.3.1.1
	maxAddress   = 254 // RFC 5321, 4.5.3.1.3, less the angle brackets
)

// checkAddresses wants mail addresses that need no quoting, because they are written into headers of mails.
func checkAddresses(list []string) error {
	if len(list) > MaxExternalRequesters {
		return problem.New(problem.Malformed, "there are %d external requesters; at most %d are kept", len(list), MaxExternalRequesters)
	}
	for i, address := range list {
		local, domain, ok := strings.Cut(address, "@")
		name, err := identifier.ParseDNS(domain)
		switch {
		case !ok || err != nil || name.IsWildcard() || len(address) > maxAddress || len(local) > maxLocalPart || !dotAtom(local):
			return problem.New(problem.Malformed, "external requester %d is no plain mail address, such as ann@example.com", i+1)
		case slices.Contains(list[:i], address):
			return problem.New(problem.Malformed, "external requester %s is given twice", address)
		}
	}
	return nil
}

// dotAtom reports whether text is a dot-atom (RFC 5322, 3.2.3).
func dotAtom(text string) bool {
	for atom := range strings.SplitSeq(text, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", c))
		}) {
			return false
		}
	}
	return true
}

// editable reads an enrollment that the caller may change what goes with, or renew.
func (r *Registrar) editable(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.Store.Enrollment(ctx, id)
	if err != nil {
		return nil, err
	}
	return e, r.mayEdit(caller, e, absent(id))
}

// mayEdit is nil for a caller who may ask for certificates of the enrollment's organisation, and of an ACME account for what it
// asked for itself. What was removed is absent.
func (r *Registrar) mayEdit(caller auth.Caller, e *Enrollment, absent error) error {
	return r.mayEditAs(caller, auth.Request, e, absent)
}

// mayManage is nil for the one who asked for an enrollment, while he may still ask for others there, and for those who look after
// what others asked for: what renews itself is renewed in the requester's name, and what is removed takes the private key along.
func (r *Registrar) mayManage(caller auth.Caller, e *Enrollment) error {
	action := auth.ManageEnrollments
	if caller.Principal != "" && caller.Principal == e.Requester {
		action = auth.Request
	}
	err := r.may(caller, action, e.Org, absent(e.ID))
	if action == auth.ManageEnrollments && problem.Is(err, problem.Unauthorized) {
		return problem.New(problem.Unauthorized, "enrollment %d is another principal's, and this takes that one or an administrator of its organisation", e.ID)
	}
	return err
}

func (r *Registrar) mayEditAs(caller auth.Caller, may auth.Action, e *Enrollment, absent error) error {
	if err := r.may(caller, may, e.Org, absent); err != nil {
		return err
	}
	switch {
	case !e.Removed.IsZero():
		return absent
	case !caller.Operator && !caller.IsPrincipal() && e.Requester != caller.Principal:
		return problem.New(problem.Unauthorized, "this enrollment is another account's")
	}
	return nil
}

// edit changes what goes with an enrollment: in the store, which decides between changes at the same time, and then in the
// journal, also if the store has it already, because an earlier try may have ended in between. A fact of the registration
// authority's own goes into the same commit.
func (r *Registrar) edit(ctx context.Context, caller auth.Caller, id ID, what string, change func(e *Enrollment) (fact any, err error)) (*Enrollment, error) {
	return r.editAs(ctx, caller, auth.Request, id, what, change)
}

// editAs is edit for those who may do something else than ask for certificates.
func (r *Registrar) editAs(ctx context.Context, caller auth.Caller, may auth.Action, id ID, what string, change func(e *Enrollment) (fact any, err error)) (*Enrollment, error) {
	if r.Journal == nil {
		return nil, problem.New(problem.Unavailable, "there is no journal, and nothing can be changed without one")
	}
	for try := 1; ; try++ {
		e, err := r.Store.Enrollment(ctx, id)
		if err == nil {
			err = r.mayEditAs(caller, may, e, absent(id))
		}
		if err != nil {
			return nil, err
		}
		next := *e
		fact, err := change(&next)
		if err != nil {
			return nil, err
		}
		if fact != nil || !sameDetails(&next, e) {
			next.Edits++
			if err = r.Store.MoveEnrollment(ctx, &next, e, fact); problem.Is(err, problem.Conflict) && try < moveTries {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if err := r.journalDetails(ctx, audit.EnrollmentEdited, &next, caller.Principal, what, r.Now()); err != nil {
			return nil, err
		}
		return &next, nil
	}
}

// sameDetails reports whether two states of an enrollment have the same that edit changes.
func sameDetails(a, b *Enrollment) bool {
	return a.Comments == b.Comments && a.Revocation == b.Revocation && slices.Equal(a.ExternalRequesters, b.ExternalRequesters) && slices.Equal(a.CustomFields, b.CustomFields) &&
		a.AutoRenew == b.AutoRenew && a.SuspendNotifications == b.SuspendNotifications && a.RenewedManually.Equal(b.RenewedManually) &&
		slices.EqualFunc(a.Locations, b.Locations, Location.equal) && a.LastLocation == b.LastLocation
}

// journalDetails tells the journal of all that goes with an enrollment, with its certificate if it has one: that may be in
// another gateway's journal.
func (r *Registrar) journalDetails(ctx context.Context, kind audit.Kind, e *Enrollment, actor, what string, at time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	events, err := r.importedBefore(ctx, e, at)
	if err == nil {
		var event audit.Event
		event, err = r.detailsEvent(ctx, kind, e, actor, what, at)
		events = append(events, event)
	}
	if err == nil {
		err = r.Journal.Append(ctx, events...)
	}
	if err != nil {
		return problem.Wrap(err, problem.Unavailable, "the change could not be journaled; say it again later")
	}
	return nil
}
