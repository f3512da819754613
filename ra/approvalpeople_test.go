package ra_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// Decisions by people as they are: principals of package auth with roles, who are whoever their credentials say at this
// moment, at two gateways that share nothing but the store and, here, the journal.

// gateway is one of them.
type gateway struct {
	*ra.Registrar
	people *auth.Principals
	who    *auth.Authenticator
}

// office is two gateways, and the credentials of the people by their logins: the organisations 1 (main), 3 (sales) below it, and
// 2 (other).
type office struct {
	*world
	gateways []*gateway
	keys     map[string][]string // by login: secrets of API keys, one for each credential
	ids      map[string]auth.PrincipalID
}

func newOffice(t *testing.T, w *world) *office {
	t.Helper()
	o := &office{world: w, keys: map[string][]string{}, ids: map[string]auth.PrincipalID{}}
	for range 2 {
		o.gateways = append(o.gateways, o.open(nil))
	}
	for login, roles := range map[string][]auth.NamedGrant{
		"rita":  {{Role: auth.Requester}, {Role: auth.Approver}},
		"ann":   {{Role: auth.Approver}},
		"ben":   {{Role: auth.Approver}},
		"boss":  {{Role: auth.Administrator}},
		"audit": {{Role: auth.Auditor}},
	} {
		o.hire("main", login, roles...)
		o.key(login)
	}
	o.hire("sales", "sam", auth.NamedGrant{Role: auth.Requester}, auth.NamedGrant{Role: auth.Approver})
	o.hire("other", "eve", auth.NamedGrant{Role: auth.Approver}, auth.NamedGrant{Role: auth.Requester})
	o.key("sam")
	o.key("eve")
	return o
}

// open is what a gateway has on the store.
func (o *office) open(change func(c *ra.Config)) *gateway {
	o.t.Helper()
	db, err := storage.Open(o.t.Context(), storage.Config{Engine: o.engine, Issuers: []string{"main"}})
	must(o.t, err)
	fixed, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}, {ID: 3, Slug: "sales", Parent: 1}})
	must(o.t, err)
	directory, err := fixed.Open(o.t.Context(), db, nil)
	must(o.t, err)
	g := &gateway{}
	g.people, err = auth.NewPrincipals(auth.PrincipalsConfig{Directory: directory, Store: db, Journal: o.journal, Now: o.clock.now, Argon2: auth.Argon2{Memory: 8, Passes: 1, Threads: 1}})
	must(o.t, err)
	g.who, err = auth.NewAuthenticator(o.t.Context(), auth.AuthenticatorConfig{Principals: g.people})
	must(o.t, err)
	c := o.guarded().Config
	c.Store, c.May = db, directory.May
	c.MayDecide = func(caller auth.Caller, role policy.ApproverRole, org auth.OrgID) error {
		if role == policy.ByAdministrator {
			return directory.May(caller, auth.ManagePrincipals, org)
		}
		return directory.May(caller, auth.Approve, org)
	}
	if change != nil {
		change(&c)
	}
	g.Registrar = ra.New(c)
	return g
}

func (o *office) hire(org, login string, roles ...auth.NamedGrant) {
	o.t.Helper()
	for i := range roles {
		roles[i].Org = org
	}
	p, err := o.gateways[0].people.Add(o.t.Context(), operator, auth.NewPrincipal{Org: org, Login: login, Grants: roles})
	must(o.t, err)
	o.ids[login] = p.ID
}

// key gives somebody one more credential.
func (o *office) key(login string) {
	o.t.Helper()
	_, _, secret, err := o.gateways[0].people.AddCredential(o.t.Context(), operator, auth.Ref{ID: o.ids[login]}, auth.NewCredential{Kind: auth.APIKey})
	must(o.t, err)
	o.keys[login] = append(o.keys[login], secret.Key)
}

var desk = netip.MustParseAddr("192.0.2.1")

// as is who comes to a gateway with a credential.
func (o *office) as(g *gateway, login string, credential int) (auth.Caller, error) {
	return g.who.Key(o.t.Context(), o.keys[login][credential], desk)
}

func (o *office) known(g *gateway, login string, credential int) auth.Caller {
	o.t.Helper()
	c, err := o.as(g, login, credential)
	must(o.t, err)
	return c
}

// asked is a request of somebody that waits.
func (o *office) asked(login, profile string) *ra.Enrollment {
	o.t.Helper()
	g := o.gateways[0]
	c := o.known(g, login, 0)
	e, err := g.Submit(o.t.Context(), c, o.ask(c, profile, "", newKey(o.t)))
	must(o.t, err)
	if e.Phase != ra.Waiting {
		o.t.Fatalf("%s's request is in phase %d", login, e.Phase)
	}
	return e
}

// say is what somebody says with the first credential at a gateway, authenticated for this.
func (o *office) say(g *gateway, login, verb string, id ra.ID) error {
	c, err := o.as(g, login, 0)
	if err != nil {
		return err
	}
	if verb == "approve" {
		_, err = g.Approve(o.t.Context(), c, id, "")
	} else {
		_, err = g.Decline(o.t.Context(), c, id, "no")
	}
	return err
}

// journaled are the decisions about a request in the journal, as "approved ann".
func (o *office) journaled(id ra.ID) (list []string) {
	names := map[string]string{}
	for login, p := range o.ids {
		names[p.String()] = login
	}
	o.journal.mu.Lock()
	defer o.journal.mu.Unlock()
	for _, e := range o.journal.events {
		if e.Enrollment == int64(id) && (e.Kind == "approved" || e.Kind == "declined") {
			list = append(list, string(e.Kind)+" "+names[e.Actor])
		}
	}
	slices.Sort(list)
	return list
}

func TestDecisionsByPeople(t *testing.T) {
	tests := map[string]func(t *testing.T, o *office){
		"NobodyApprovesTheirOwn": nobodyApprovesTheirOwn, "WhoMayDecide": whoMayDecide, "RoleAgainstApproval": roleAgainstApproval,
		"PeopleAtOnce": peopleAtOnce, "ApproveAfterChange": approveAfterChange,
	}
	for name, test := range tests {
		t.Run(name+"/embedded", func(t *testing.T) { test(t, newOffice(t, guardedWorld(t))) })
	}
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		server := redistest.Start(t)
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr}, Name: strings.ToLower(name)})
				must(t, err)
				t.Cleanup(func() { e.Close() })
				test(t, newOffice(t, guard(t, newWorldOn(t, e))))
			})
		}
	})
}

// nobodyApprovesTheirOwn by any credential, at any gateway, also who is an approver.
func nobodyApprovesTheirOwn(t *testing.T, o *office) {
	o.key("rita")
	_, _, client, err := o.gateways[1].people.AddCredential(t.Context(), operator, auth.Ref{ID: o.ids["rita"]}, auth.NewCredential{Kind: auth.OAuthClient})
	must(t, err)
	e := o.asked("rita", "one")
	callers := []auth.Caller{o.known(o.gateways[0], "rita", 0), o.known(o.gateways[1], "rita", 1)}
	token, _, err := o.gateways[0].who.Token(t.Context(), client.ClientID, client.ClientSecret, desk)
	must(t, err)
	c, err := o.gateways[1].who.Bearer(t.Context(), token, desk)
	must(t, err)
	for _, c := range append(callers, c) {
		for _, g := range o.gateways {
			_, err := g.Approve(t.Context(), c, e.ID, "")
			if wantKind(t, err, problem.Unauthorized); err != nil && !strings.Contains(err.Error(), "their own") {
				t.Error(err)
			}
		}
	}
	if got := o.journaled(e.ID); len(got) > 0 || o.read(e.ID).Phase != ra.Waiting {
		t.Errorf("the journal says %v", got)
	}
	must(t, o.say(o.gateways[1], "ann", "approve", e.ID))
	if got := o.journaled(e.ID); !slices.Equal(got, []string{"approved ann"}) || o.read(e.ID).Phase != ra.Issued {
		t.Errorf("the journal says %v", got)
	}
}

// whoMayDecide is who has the role now, in the organisation or above it.
func whoMayDecide(t *testing.T, o *office) {
	e, sales, bosses := o.asked("rita", "one"), o.asked("sam", "one"), o.asked("rita", "boss")
	for _, verb := range []string{"approve", "decline"} {
		for _, c := range []struct {
			login string
			id    ra.ID
			kind  problem.Kind
		}{
			{"boss", e.ID, problem.Unauthorized}, {"audit", e.ID, problem.Unauthorized}, {"ann", bosses.ID, problem.Unauthorized},
			{"eve", e.ID, problem.NotFound}, {"eve", sales.ID, problem.NotFound}, {"sam", e.ID, problem.NotFound},
		} {
			if err := o.say(o.gateways[1], c.login, verb, c.id); !problem.Is(err, c.kind) {
				t.Errorf("%s may %s %d: %v, want %s", c.login, verb, c.id, err, c.kind)
			}
		}
	}
	must(t, o.say(o.gateways[1], "ann", "approve", sales.ID)) // inherited
	must(t, o.say(o.gateways[1], "boss", "approve", bosses.ID))

	// The role is taken at one gateway, and is gone at both; what was consented to before stands.
	two := o.asked("rita", "two")
	must(t, o.say(o.gateways[1], "ann", "approve", two.ID))
	_, err := o.gateways[0].people.Edit(t.Context(), operator, auth.Ref{ID: o.ids["ann"]}, auth.PrincipalEdit{
		Withdraw: []auth.NamedGrant{{Org: "main", Role: auth.Approver}}, Grant: []auth.NamedGrant{{Org: "main", Role: auth.Auditor}},
	})
	must(t, err)
	off := true
	_, err = o.gateways[0].people.Edit(t.Context(), operator, auth.Ref{ID: o.ids["ben"]}, auth.PrincipalEdit{Disabled: &off})
	must(t, err)
	for _, login := range []string{"ann", "ben"} {
		for _, g := range o.gateways {
			for _, verb := range []string{"approve", "decline"} {
				if err := o.say(g, login, verb, e.ID); !problem.Is(err, problem.Unauthorized) {
					t.Errorf("%s, who may not any more, may %s: %v", login, verb, err)
				}
			}
		}
	}
	if got := o.journaled(e.ID); len(got) > 0 || o.read(e.ID).Phase != ra.Waiting {
		t.Errorf("the journal says %v", got)
	}
	o.hire("main", "cleo", auth.NamedGrant{Role: auth.Approver})
	o.key("cleo")
	must(t, o.say(o.gateways[0], "cleo", "approve", two.ID))
	if got := o.journaled(two.ID); !slices.Equal(got, []string{"approved ann", "approved cleo"}) || o.read(two.ID).Phase != ra.Issued {
		t.Errorf("the journal says %v, and the request is in phase %d", got, o.read(two.ID).Phase)
	}
}

// roleAgainstApproval: an approver's role is taken while the approver approves. Either is first, and the journal tells which.
func roleAgainstApproval(t *testing.T, o *office) {
	for n := range rounds {
		login := fmt.Sprintf("temp%d", n)
		o.hire("main", login, auth.NamedGrant{Role: auth.Approver})
		o.key(login)
		e := o.asked("rita", "one")
		errs := atOnce(
			func() error { return o.say(o.gateways[1], login, "approve", e.ID) },
			func() error {
				_, err := o.gateways[0].people.Edit(t.Context(), operator, auth.Ref{ID: o.ids[login]}, auth.PrincipalEdit{
					Withdraw: []auth.NamedGrant{{Org: "main", Role: auth.Approver}}, Grant: []auth.NamedGrant{{Org: "main", Role: auth.Auditor}},
				})
				return err
			},
		)
		must(t, errs[1])
		got, said := o.read(e.ID), o.journaled(e.ID)
		switch {
		case errs[0] == nil && got.Phase == ra.Issued && slices.Equal(said, []string{"approved " + login}):
		case problem.Is(errs[0], problem.Unauthorized) && got.Phase == ra.Waiting && len(said) == 0:
		default:
			t.Errorf("%v came to phase %d, and the journal says %v", errs[0], got.Phase, said)
		}
		if err := o.say(o.gateways[1], login, "approve", e.ID); !problem.Is(err, problem.Unauthorized) {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// peopleAtOnce at two gateways: two approvers, an approver against one who declines, and against the requester, who takes the
// request back. There is one outcome, whoever was told of another was told so, and the journal has what came of it.
func peopleAtOnce(t *testing.T, o *office) {
	for _, c := range []struct{ profile, one, other, verb string }{
		{"two", "ann", "ben", "approve"}, {"one", "ann", "ben", "approve"}, {"one", "ann", "ben", "decline"}, {"one", "ann", "rita", "decline"},
	} {
		for range rounds / 2 {
			signed := o.signer.signed.Load()
			e := o.asked("rita", c.profile)
			errs := atOnce(
				func() error { return o.say(o.gateways[0], c.one, "approve", e.ID) },
				func() error { return o.say(o.gateways[1], c.other, c.verb, e.ID) },
			)
			got, said := o.read(e.ID), o.journaled(e.ID)
			signed = o.signer.signed.Load() - signed
			for _, err := range errs {
				if err != nil && !problem.Is(err, problem.Conflict) {
					t.Errorf("%+v: %v", c, err)
				}
			}
			var wanted []string
			if errs[0] == nil {
				wanted = append(wanted, "approved "+c.one)
			}
			if errs[1] == nil {
				wanted = append(wanted, map[string]string{"approve": "approved ", "decline": "declined "}[c.verb]+c.other)
			}
			declined := errs[1] == nil && c.verb == "decline"
			switch {
			case !slices.Equal(said, wanted) || len(wanted) == 0 || c.profile == "two" && len(wanted) != 2 || c.profile == "one" && c.verb == "decline" && len(wanted) != 1:
			case declined && got.Phase == ra.Declined && signed == 0 && got.Decliner == o.ids[c.other].String():
				continue
			case !declined && got.Phase == ra.Issued && signed == 1:
				continue
			}
			t.Errorf("%+v: %v came to phase %d with %d signatures, and the journal says %v", c, errs, got.Phase, signed, said)
		}
	}
}

// approveAfterChange: what was approved is what was asked for. After a change of the profile at one gateway, after the
// request was taken back, and after it lapsed, nobody consents to it any more.
func approveAfterChange(t *testing.T, o *office) {
	changed := o.open(func(c *ra.Config) {
		c.Profiles["one"] = guardedProfile(t, "one", policy.ApprovalRule{Required: 1, Lifetime: 3 * 24 * time.Hour})
	})
	edited, taken, lapsed := o.asked("rita", "one"), o.asked("rita", "one"), o.asked("rita", "one")
	if err := o.say(changed, "ann", "approve", edited.ID); !problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("of a profile that has changed: %v", err)
	}
	must(t, o.say(o.gateways[1], "rita", "decline", taken.ID))
	for _, g := range o.gateways {
		if err := o.say(g, "ann", "approve", taken.ID); !problem.Is(err, problem.Conflict) {
			t.Errorf("what was taken back: %v", err)
		}
	}
	o.clock.add(8 * 24 * time.Hour)
	if err := o.say(o.gateways[0], "ann", "approve", lapsed.ID); !problem.Is(err, problem.Conflict) {
		t.Errorf("what lapsed: %v", err)
	}
	if n := o.signer.signed.Load(); n != 0 {
		t.Errorf("%d were signed", n)
	}
	if got := append(o.journaled(edited.ID), append(o.journaled(taken.ID), o.journaled(lapsed.ID)...)...); !slices.Equal(got, []string{"declined rita"}) {
		t.Errorf("the journal says %v", got)
	}
}
