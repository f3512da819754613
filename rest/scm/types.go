package scm

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// certType is a profile.
type certType struct {
	ID                  int32               `json:"id"`
	Name                string              `json:"name"`
	Description         string              `json:"description"`
	Terms               []int64             `json:"terms"`
	KeyTypes            map[string][]string `json:"keyTypes"`
	UseSecondaryOrgName bool                `json:"useSecondaryOrgName"`
}

// types lists the profiles that an organisation may use and that have a number.
func (s *Server) types(c *call) error {
	name := "organizationId"
	if !c.query.Has(name) {
		name = "orgId" // as some clients call it
	}
	number, err := rest.QueryInt(c.query, name, 1, maxInt32)
	if err != nil {
		return err
	}
	org, err := c.organisation(number)
	if err != nil {
		return err
	}
	list := []certType{}
	for _, p := range s.Registrar.Profiles {
		if p.Number() != 0 && s.Registrar.Allowed(org, p.Name()) {
			list = append(list, s.certType(p))
		}
	}
	slices.SortFunc(list, func(a, b certType) int { return cmp.Compare(a.ID, b.ID) })
	return c.answer(list)
}

const maxInt32 = 1<<31 - 1

func (s *Server) certType(p *policy.Profile) certType {
	t := certType{ID: p.Number(), Name: p.Name(), Description: p.Description(), Terms: []int64{}, KeyTypes: map[string][]string{}}
	for _, term := range p.Terms(s.Now()) {
		if days := daysOf(term); !slices.Contains(t.Terms, days) {
			t.Terms = append(t.Terms, days)
		}
	}
	for _, k := range p.KeyTypes() {
		if algorithm, size := keyWords(k); algorithm != "" {
			t.KeyTypes[algorithm] = append(t.KeyTypes[algorithm], size)
		}
	}
	return t
}

// profileOf finds the profile with a number that an organisation may use. None, and one that it may not use, are the same.
func (s *Server) profileOf(org auth.OrgID, number int64) (*policy.Profile, error) {
	if p, ok := s.profileNumber(number); ok && s.Registrar.Allowed(org, p.Name()) {
		return p, nil
	}
	return nil, coded(http.StatusBadRequest, codeNoProfile, problem.New(problem.InvalidProfile, "there is no profile %d for this organisation; GET types lists them", number))
}

// profileNumber finds the profile with a number.
func (s *Server) profileNumber(number int64) (*policy.Profile, bool) {
	for _, p := range s.Registrar.Profiles {
		if number > 0 && int64(p.Number()) == number {
			return p, true
		}
	}
	return nil, false
}

// daysOf is a validity in days, a part of one counted as a whole.
func daysOf(d time.Duration) int64 { return int64((d + 24*time.Hour - 1) / (24 * time.Hour)) }

// termOf is the term of a profile that has so many days; ErrTerm if it has none.
func (s *Server) termOf(p *policy.Profile, days int64) (time.Duration, error) {
	terms := p.Terms(s.Now())
	for _, term := range terms {
		if daysOf(term) == days {
			return term, nil
		}
	}
	var have []string
	for _, d := range s.certType(p).Terms {
		have = append(have, formatInt(d))
	}
	return 0, problem.Wrap(policy.ErrTerm, problem.Malformed, "term: the profile %s has no term of %d days; give %s", p.Name(), days, strings.Join(have, " or "))
}

// keyWords is a type of key as SCM names algorithm and size; none for one that SCM has no words for.
func keyWords(k policy.KeyType) (algorithm, size string) {
	switch k {
	case policy.RSA2048, policy.RSA3072, policy.RSA4096:
		return "RSA", strings.TrimPrefix(string(k), "rsa-")
	case policy.ECDSAP256:
		return "EC", "P-256"
	case policy.ECDSAP384:
		return "EC", "P-384"
	case policy.ECDSAP521:
		return "EC", "P-521"
	default:
		return "", ""
	}
}

// customField is the definition of a custom field.
type customField struct {
	ID        int32  `json:"id"`
	Name      string `json:"name"`
	Mandatory bool   `json:"mandatory"` // at this door, under whatever profile
}

func (s *Server) customFields(c *call) error {
	list := []customField{}
	if s.Fields != nil {
		for _, f := range s.Fields.List() {
			list = append(list, customField{f.Number, f.Name, slices.Contains(f.Mandatory, string(ra.DoorSCM))})
		}
	}
	return c.answer(list)
}
