package scm

import (
	"math"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// renewDays is when a certificate renews itself if nothing is said, in days before its end.
const renewDays = 30

// update changes what goes with a certificate. What decides what is issued can only be said as it is: another one takes a new
// request.
func (s *Server) update(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("sslId")
	id := o.Int("sslId", 1, math.MaxInt32)
	if err := o.Err(); err != nil {
		return err
	}
	e, err := s.Registrar.Current(c.ctx, c.caller, ra.ID(id))
	if err != nil {
		return err
	}
	c.unchanged(o, e)
	changes := changesOf(o)
	if err := o.Err(); err != nil {
		return err
	}
	if e, err = s.Registrar.Update(c.ctx, c.caller, e.ID, changes); err != nil {
		return err
	}
	return c.details(ra.ID(id), e)
}

// changesOf reads what can be changed. What is absent stays.
func changesOf(o *rest.Object) (changes ra.Changes) {
	if o.Has("comments") {
		changes.Comments = new(o.Text("comments", maxComments))
	}
	if o.Has("externalRequester") {
		changes.ExternalRequesters = new(externalRequesters(o))
	}
	if o.Has("customFields") {
		changes.CustomFields = new(customFieldsOf(o))
	}
	if o.Has("suspendNotifications") {
		changes.SuspendNotifications = new(o.Bool("suspendNotifications"))
	}
	if o.Has("autoRenewDetails") {
		changes.AutoRenew = autoRenew(o.Object("autoRenewDetails"))
	}
	return changes
}

// autoRenew reads whether a certificate renews itself, and when.
func autoRenew(o *rest.Object) *ra.AutoRenew {
	days := int(o.Int("daysBeforeExpiration", 1, ra.MaxRenewDays))
	state := o.Text("state", 32)
	switch strings.ToUpper(strings.ReplaceAll(state, " ", "_")) {
	case "", "NOT_SCHEDULED":
		if days != 0 {
			o.Refuse("daysBeforeExpiration", "it goes with the state Scheduled")
		}
		return &ra.AutoRenew{}
	case "SCHEDULED":
		if days == 0 {
			days = renewDays
		}
		return &ra.AutoRenew{On: true, Days: days}
	default:
		o.Refuse("state", "give Scheduled or Not scheduled")
		return nil
	}
}

// unchanged refuses members that would change what is issued, or for whom. Clients may send them as they are.
func (c *call) unchanged(o *rest.Object, e *ra.Enrollment) {
	refuse := func(name string, differs bool) {
		if o.Has(name) && differs {
			o.Refuse(name, "it cannot be changed; make a new request, and decline this one if it still waits")
		}
	}
	now := c.describe(e)
	term, org := o.Int("term", 1, maxTerm), o.Int("orgId", 1, math.MaxInt32)
	number := o.Int("certTypeId", 1, math.MaxInt32)
	refuse("term", term != now.Term)
	refuse("orgId", org != int64(e.Org))
	refuse("certTypeId", now.CertType == nil || number != int64(now.CertType.ID))
	refuse("commonName", !strings.EqualFold(o.Text("commonName", maxName), now.CommonName))
	if name := o.Text("requester", maxName); name != "" {
		refuse("requester", name != now.Requester && name != e.Requester)
	}
	refuse("requesterAdminId", o.Int("requesterAdminId", 1, math.MaxInt32) != int64(now.RequesterID))
	if o.Has("approverAdminId") {
		id := o.Int("approverAdminId", -1, math.MaxInt32)
		refuse("approverAdminId", id != int64(now.OwnerID) && !(id == -1 && now.OwnerID == 0))
	}
	if o.Has("subjectAlternativeNames") {
		refuse("subjectAlternativeNames", !slices.Equal(identifier.SortUnique(namesOf(o, "subjectAlternativeNames")), e.Names))
	}
	if der, _, err := readCSR(o); err != nil {
		o.Refuse("csr", "%s", problem.From(err).Detail)
	} else if der != nil {
		refuse("csr", !slices.Equal(der, e.CSR) && !slices.Equal(der, e.KeptCSR))
	}
}
