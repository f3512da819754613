package acme

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestOrderStatus(t *testing.T) {
	now := testTime
	pending := &Authorization{Expires: now.Add(time.Hour), Challenges: []Challenge{{}}}
	processing := &Authorization{Expires: now.Add(time.Hour), Challenges: []Challenge{{Begun: now}}}
	valid := &Authorization{Expires: now.Add(time.Hour), Challenges: []Challenge{{Proof: &dcv.Proof{}}}}
	expired := &Authorization{Expires: now, Challenges: []Challenge{{Proof: &dcv.Proof{}}}}
	failed := &Authorization{Expires: now.Add(time.Hour), Challenges: []Challenge{{Failed: &Failure{}}}}
	phase := func(p ra.Phase) *ra.Enrollment { return &ra.Enrollment{ID: 7, Phase: p} }
	for _, tc := range []struct {
		name       string
		authzs     []*Authorization
		enrollment *ra.Enrollment
		begun      bool
		expires    time.Duration
		want       Status
	}{
		{"RFC 8555, 7.1.6: nothing proven", []*Authorization{pending, pending}, nil, false, time.Hour, StatusPending},
		{"RFC 8555, 7.1.6: a validation under way", []*Authorization{valid, processing}, nil, false, time.Hour, StatusPending},
		{"RFC 8555, 7.1.6: all proven", []*Authorization{valid, valid}, nil, false, time.Hour, StatusReady},
		{"RFC 8555, 7.1.6: one failed", []*Authorization{valid, failed}, nil, false, time.Hour, StatusInvalid},
		{"RFC 8555, 7.1.6: failed beside pending", []*Authorization{failed, pending}, nil, false, time.Hour, StatusInvalid},
		{"RFC 8555, 7.1.6: one expired", []*Authorization{valid, expired}, nil, false, time.Hour, StatusInvalid},
		{"an authorization is gone", []*Authorization{valid, nil}, nil, false, time.Hour, StatusInvalid},
		{"authorizations are missing", []*Authorization{valid}, nil, false, time.Hour, StatusInvalid},
		{"RFC 8555, 7.1.6: order expires now", []*Authorization{valid, valid}, nil, false, 0, StatusInvalid},
		{"RFC 8555, 7.1.6: order expires in a moment", []*Authorization{valid, valid}, nil, false, time.Nanosecond, StatusReady},
		{"RFC 8555, 7.1.6: requested", []*Authorization{valid, valid}, phase(ra.Requested), true, time.Hour, StatusProcessing},
		{"RFC 8555, 7.1.6: issued", []*Authorization{valid, valid}, phase(ra.Issued), true, time.Hour, StatusValid},
		{"issued, all else lapsed", []*Authorization{expired, nil}, phase(ra.Issued), true, -time.Hour, StatusValid},
		{"requested, all else lapsed", []*Authorization{expired, nil}, phase(ra.Requested), true, -time.Hour, StatusProcessing},
		{"revoked", []*Authorization{valid, valid}, phase(ra.Revoked), true, time.Hour, StatusValid},
		{"RFC 8555, 7.1.6: failed", []*Authorization{valid, valid}, phase(ra.Failed), true, time.Hour, StatusInvalid},
		{"a phase of tomorrow", []*Authorization{valid, valid}, phase(99), true, time.Hour, StatusInvalid},
		{"the enrollment is gone", []*Authorization{valid, valid}, nil, true, time.Hour, StatusInvalid},
	} {
		o := &Order{Authzs: []AuthzID{"a", "b"}, Expires: now.Add(tc.expires)}
		if tc.begun {
			o.Enrollment = 7
		}
		if got := o.Status(now, Facts{tc.authzs, tc.enrollment}); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestAuthorizationStatus(t *testing.T) {
	now := testTime
	proof, failure := &dcv.Proof{}, &Failure{}
	for _, tc := range []struct {
		name       string
		challenges []Challenge
		expires    time.Duration
		want       Status
	}{
		{"RFC 8555, 7.1.6: made", []Challenge{{}, {}}, time.Hour, StatusPending},
		{"RFC 8555, 7.1.6: validation under way", []Challenge{{Begun: now}, {}}, time.Hour, StatusPending},
		{"RFC 8555, 7.1.6: one proven", []Challenge{{}, {Proof: proof}}, time.Hour, StatusValid},
		{"RFC 8555, 7.1.6: one failed", []Challenge{{Failed: failure}, {}}, time.Hour, StatusInvalid},
		{"RFC 8555, 7.1.6: valid, then expires", []Challenge{{Proof: proof}}, 0, StatusExpired},
		{"RFC 8555, 7.1.6: lapses while pending", []Challenge{{}}, 0, StatusInvalid},
		{"lapses during a validation", []Challenge{{Begun: now}}, 0, StatusInvalid},
		{"no challenge", nil, time.Hour, StatusPending},
	} {
		a := &Authorization{Challenges: tc.challenges, Expires: now.Add(tc.expires)}
		if got := a.Status(now); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestChallengeStatus(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Challenge
		want Status
	}{
		{"RFC 8555, 7.1.6: made", Challenge{}, StatusPending},
		{"RFC 8555, 7.1.6: client is ready", Challenge{Begun: testTime}, StatusProcessing},
		{"RFC 8555, 7.1.6: proven", Challenge{Begun: testTime, Proof: &dcv.Proof{}}, StatusValid},
		{"RFC 8555, 7.1.6: failed", Challenge{Begun: testTime, Failed: &Failure{}}, StatusInvalid},
	} {
		if got := tc.c.Status(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestOrderFailure(t *testing.T) {
	name := dnsName(t, "a.example.com")
	f := Facts{Authorizations: []*Authorization{
		nil, {Challenges: []Challenge{{Proof: &dcv.Proof{}}}},
		{Identifier: name, Challenges: []Challenge{{Failed: &Failure{Kind: problem.DNS, Detail: "no address"}}}},
	}}
	e := (&Order{}).failure(f)
	if e == nil || len(e.Parts) != 1 || e.Parts[0].Identifier != name || e.Parts[0].Kind != problem.DNS {
		t.Errorf("%+v", e)
	}
	if e := (&Order{}).failure(Facts{}); e != nil {
		t.Error("time alone is no error:", e)
	}
	f.Enrollment = &ra.Enrollment{Failure: &ra.Failure{Kind: problem.CAA, Detail: "forbidden"}}
	if e := (&Order{Enrollment: 1}).failure(f); e == nil || e.Kind != problem.CAA || e.Detail != "forbidden" {
		t.Errorf("%+v", e)
	}
}
