package auth

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// changeTime bounds a change that was begun: it is finished even if whoever asked hangs up.
const changeTime = 15 * time.Second

// TenantsConfig is what Tenants needs. All but Unused, Now and Log are required.
type TenantsConfig struct {
	Directory *Directory // over Store
	Store     Store
	Journal   Journal
	// CheckNames refuses lists of names that allow or deny that cannot be read, for whoever wrote them.
	CheckNames func(allow, deny []string) error
	// Unused is nil for an organisation that has nothing which its closing would end; otherwise a *problem.Error says what it has.
	// Nil: none is closed.
	Unused func(ctx context.Context, org OrgID) error
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: discarded
}

// Tenants makes and changes the organisations of the store: on behalf of an operator any, on behalf of a principal those below an
// organisation where it is administrator (tenantsrights.go). What it acknowledged is in store and journal. It is safe for concurrent use,
// in any number of processes.
type Tenants struct {
	TenantsConfig
	record recorder
}

// NewTenants makes Tenants.
func NewTenants(c TenantsConfig) *Tenants {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Tenants{TenantsConfig: c, record: newRecorder(c.Store, c.Journal, c.Now, c.Log)}
}

func noOrg(slug string) error {
	return problem.New(problem.NotFound, "there is no organisation with the slug %q; gatehouse org list shows them", slug)
}

func (t *Tenants) second() time.Time { return t.Now().UTC().Truncate(time.Second) }

// check holds an organisation to what its parent may, and to form.
func (t *Tenants) check(now *tree, o *Org) error {
	if err := t.checkForm(o); err != nil {
		return err
	}
	return checkProfiles(o.Profiles, t.Directory.knows, func(p string) error {
		if parent := now.byID[o.Parent]; o.Parent != 0 && (parent == nil || !now.allows(parent, p)) {
			return problem.New(problem.Malformed, "profile %q: the organisation above may not use it", p)
		}
		return nil
	})
}

// checkForm holds all of an organisation but its profiles to form.
func (t *Tenants) checkForm(o *Org) error {
	if err := checkLine("the name", o.Name, maxOrgName); err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	if _, known := eabModes[o.EAB]; !known {
		return problem.New(problem.Malformed, "eab: the mode is none of off, optional and required")
	}
	if err := t.checkNames(o); err != nil {
		return err
	}
	return o.Details.check()
}

// checkNames holds an organisation's rules about names to form.
func (t *Tenants) checkNames(o *Org) error {
	if n := max(len(o.AllowNames), len(o.DenyNames)); n > maxNameList {
		return problem.New(problem.Malformed, "a list of names has %d entries; at most %d can be; write patterns", n, maxNameList)
	}
	if err := t.CheckNames(o.AllowNames, o.DenyNames); err != nil {
		return problem.Wrap(err, problem.Malformed, "%v", err)
	}
	return nil
}

// checkProfiles holds a list of profiles to those that are configured, each once, and to a rule.
func checkProfiles(list []string, configured func(string) bool, may func(string) error) error {
	if len(list) > maxProfileList {
		return problem.New(problem.Malformed, "%d profiles are named; at most %d can be", len(list), maxProfileList)
	}
	for i, p := range list {
		if !configured(p) {
			return problem.New(problem.Malformed, "profile %q is not configured", p)
		}
		if slices.Contains(list[:i], p) {
			return problem.New(problem.Malformed, "profile %q is named twice", p)
		}
		if err := may(p); err != nil {
			return err
		}
	}
	return nil
}

// maxChanges bounds how often a change is tried. Each time but the last somebody else's came first.
const maxChanges = 10

// change makes one change on the organisations as they stand now. decide says whether the caller may.
func (t *Tenants) change(ctx context.Context, caller Caller, kind audit.Kind, decide func(*tree) (*Org, error)) (Org, error) {
	if err := mayAtAll(caller); err != nil {
		return Org{}, err
	}
	for attempt := 1; ; attempt++ {
		stored, version, err := t.Store.Orgs(ctx)
		if err != nil {
			return Org{}, err
		}
		now, err := newTree(t.Directory.configured, stored)
		if err == nil {
			err = now.collides()
		}
		if err != nil {
			return Org{}, problem.Wrap(err, problem.Conflict, "%v", err)
		}
		o, err := decide(now)
		if err != nil {
			return Org{}, err
		}
		var note Note
		if kind == audit.OrgMade {
			note, err = t.Store.CreateOrg(ctx, o, version)
		} else {
			note, err = t.Store.UpdateOrg(ctx, o, version)
		}
		if problem.Is(err, problem.Conflict) && attempt < maxChanges {
			continue
		}
		if err != nil {
			return Org{}, err
		}
		event, err := orgEvent(kind, o, caller.Principal, t.Now())
		if err == nil {
			err = t.record.append(ctx, note, event)
		}
		if err != nil {
			return Org{}, err
		}
		if err := t.Directory.Refresh(ctx); err != nil { // its next turn will
			t.record.log.Warn("reading the organisations after a change failed", "error", err)
		}
		return *o, nil
	}
}

// onlyOperator refuses whoever is not the machine's operator.
func onlyOperator(caller Caller) error {
	if !caller.Operator || caller.Principal == "" {
		return problem.New(problem.Unauthorized, "only an operator may do this")
	}
	return nil
}
