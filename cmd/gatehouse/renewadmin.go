package main

import (
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// atOnceBack is how long ago the window of a certificate that should be renewed at once ended, and how long it was: in the
	// past for a client whose clock is somewhat slow, too (RFC 9773, 4.2).
	atOnceBack = time.Hour
	// replaceWithin is how long several certificates have to be replaced if nobody says otherwise.
	replaceWithin = 24 * time.Hour
)

// renewNow says when the certificate in the path should be renewed.
func (a *admin) renewNow(caller auth.Caller, r *http.Request, e *ra.Enrollment) (any, error) {
	var in renewWord
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	now := a.now()
	word := ra.RenewalWord{From: now, By: in.By, Explanation: in.Explanation, Clear: in.Clear}
	switch {
	case in.By.IsZero():
		word.From, word.By = now.Add(-2*atOnceBack), now.Add(-atOnceBack)
	case !in.By.After(now):
		return nil, errPast
	}
	if err := a.registrar.SuggestRenewal(r.Context(), caller, e, word); err != nil {
		return nil, err
	}
	return a.whole(r.Context(), e)
}

var errPast = problem.New(problem.Malformed, "by is in the past; give a later time, or leave it out")

func (a *admin) renewSerial(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.one(caller, r)
	if err != nil {
		return nil, err
	}
	return a.renewNow(caller, r, e)
}

func (a *admin) renewEnrollment(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.numbered(caller, r)
	if err != nil {
		return nil, err
	}
	return a.renewNow(caller, r, e)
}

// renewMany says so for one batch of several certificates. From and By of the first answer are for the further batches.
func (a *admin) renewMany(caller auth.Caller, r *http.Request) (any, error) {
	var in renewMany
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	now := a.now().UTC().Truncate(time.Second)
	out := renewedMany{From: in.From, By: in.By}
	if out.From.IsZero() {
		out.From = now
	}
	if out.By.IsZero() {
		out.By = out.From.Add(replaceWithin)
	}
	if !out.By.After(out.From) {
		return nil, errPast
	}
	f := ra.RenewalFilter{Profile: in.Profile, Issuer: in.Issuer, IssuedBefore: in.IssuedBefore, After: ra.ID(in.After)}
	if in.Org != "" {
		org, err := a.tenants.Get(r.Context(), caller, in.Org)
		if err != nil {
			return nil, err
		}
		f.Org = org.ID
	}
	word := ra.RenewalWord{From: out.From, By: out.By, Spread: true, Explanation: in.Explanation, Clear: in.Clear}
	batch, err := a.registrar.SuggestRenewals(r.Context(), caller, f, word, in.DryRun)
	if err != nil {
		return nil, err
	}
	out.Looked, out.Changed, out.Next = batch.Looked, batch.Changed, int64(batch.Next)
	return out, nil
}

// viewRenewal is a certificate's word, nil if none stands.
func viewRenewal(r *ca.Renewal) *renewalView {
	if !r.Stands() {
		return nil
	}
	return &renewalView{Start: r.Start, End: r.End, Explanation: r.Explanation, At: r.At, Actor: r.Actor}
}
