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
// (draft-ietf-acme-profiles, 3): all that its organisation may use, or the one that the directory's URL names.
func (s *Server) offered(t target, org auth.Org) map[string]string {
	list := map[string]string{}
	for name, p := range s.Profiles {
		if (t.profile == "" || t.profile == name) && s.Allowed(org.ID, name) {
			list[name] = cmp.Or(p.Description(), name)
		}
	}
	return list
}

// selected is the profile of a new order: the one that it asks for, else the directory's.
func (s *Server) selected(t target, org auth.Org, directory *policy.Profile, asked *string) (*policy.Profile, error) {
	if asked == nil {
		return directory, nil
	}
	offered := s.offered(t, org)
	if _, ok := offered[*asked]; !ok { // draft-ietf-acme-profiles, 4
		return nil, problem.New(problem.InvalidProfile, `the profile in "profile" is not offered at this directory; it offers %s`,
			strings.Join(slices.Sorted(maps.Keys(offered)), ", "))
	}
	return s.Profiles[*asked], nil
}
