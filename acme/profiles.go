package acme

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// offered are the profiles that a new order at a directory may ask for, each with one line for people
// (draft-ietf-acme-profiles, 3): all that its organisation may use, or the one that the directory's URL names; of them those
// that a restriction allows.
func (s *Server) offered(t target, org auth.Org, only policy.Restriction) map[string]string {
	list := map[string]string{}
	for name, p := range s.Profiles {
		if (t.profile == "" || t.profile == name) && s.Allowed(org.ID, name) && only.AllowsProfile(name) {
			list[name] = cmp.Or(p.Description(), name)
			if p.TakesRequested() { // RFC 8555, 7.4; the directory has no better place to say so
				list[name] += " (notBefore and notAfter are taken)"
			}
		}
	}
	return list
}

// selected is the profile of a request for authority: the one that it asks for, else that of the directory's URL, the default
// one, or the only one that the account may use.
func (s *Server) selected(t target, org auth.Org, only policy.Restriction, asked *string) (*policy.Profile, error) {
	offered := s.offered(t, org, only)
	names := slices.Sorted(maps.Keys(offered))
	_, byDefault := offered[s.DefaultProfile]
	switch {
	case len(names) == 0:
		return nil, problem.New(problem.InvalidProfile, "the external account binding of this account allows no profile of this directory; it allows %s",
			strings.Join(only.Profiles, ", "))
	case asked != nil:
		if _, ok := offered[*asked]; !ok { // draft-ietf-acme-profiles, 4
			return nil, problem.New(problem.InvalidProfile, `the profile in "profile" is not offered at this directory; it offers %s`, strings.Join(names, ", "))
		}
		return s.Profiles[*asked], nil
	case len(names) == 1:
		return s.Profiles[names[0]], nil
	case byDefault:
		return s.Profiles[s.DefaultProfile], nil
	default:
		return nil, problem.New(problem.InvalidProfile, `this account may not use the default profile; name another in "profile", or use a directory whose URL names one: %s`,
			strings.Join(names, ", "))
	}
}

// stillIssued refuses an order under a profile that is gone, or has other rules than when the order was made
// (draft-ietf-acme-profiles, 4).
func (s *Server) stillIssued(o *Order) error {
	profile, ok := s.Profiles[o.Profile]
	switch {
	case !ok || !s.Allowed(o.Org, o.Profile):
		return problem.New(problem.InvalidProfile, "nothing is issued under this order's profile any more; make a new order under another")
	case profile.Hash() != o.ProfileHash:
		return problem.New(problem.InvalidProfile, "the profile has changed since the order was made; make a new order")
	}
	return nil
}
