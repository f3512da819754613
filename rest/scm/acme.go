package scm

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// acmeHandler is a handler of ACME accounts; private says that it was called by the path of private CAs, whose accounts have a
// profile.
type acmeHandler func(s *Server, c *call, private bool) error

// acmeRoutes are of ACME accounts: keys for external account binding. SCM calls the domains of an account domain in one version and
// domains in another, and clients mix them.
func acmeRoutes() []rest.Route[handler] {
	list := []rest.Route[handler]{{Method: http.MethodGet, Pattern: "/server", Handle: (*Server).acmeServerList}}
	for _, r := range []rest.Route[acmeHandler]{
		{Method: http.MethodGet, Pattern: "/account", Handle: (*Server).acmeAccounts},
		{Method: http.MethodPost, Pattern: "/account", Handle: (*Server).addACMEAccount},
		{Method: http.MethodGet, Pattern: "/account/{id}", Handle: (*Server).acmeAccount},
		{Method: http.MethodPut, Pattern: "/account/{id}", Handle: (*Server).renameACMEAccount},
		{Method: http.MethodDelete, Pattern: "/account/{id}", Handle: (*Server).removeACMEAccount},
		{Method: http.MethodGet, Pattern: "/account/{id}/domain", Handle: (*Server).acmeDomains},
		{Method: http.MethodPost, Pattern: "/account/{id}/domain", Handle: (*Server).addACMEDomains},
		{Method: http.MethodDelete, Pattern: "/account/{id}/domain", Handle: (*Server).removeACMEDomains},
		{Method: http.MethodPost, Pattern: "/account/{id}/domains", Handle: (*Server).addACMEDomains},
		{Method: http.MethodDelete, Pattern: "/account/{id}/domains", Handle: (*Server).removeACMEDomains},
		{Method: http.MethodGet, Pattern: "/account/{id}/client", Handle: (*Server).acmeClients},
		{Method: http.MethodPut, Pattern: "/account/{id}/client/{clientId}", Handle: (*Server).deactivateACMEClient},
	} {
		for _, private := range []bool{false, true} {
			pattern := r.Pattern
			if private {
				pattern = "/pca" + pattern
			}
			list = append(list, rest.Route[handler]{Method: r.Method, Pattern: pattern, Handle: func(s *Server, c *call) error { return r.Handle(s, c, private) }})
		}
	}
	return list
}

// validationType is what there is of SCM's types of validation: control of the domains.
const validationType = "DV"

// acmeAccount is a key for external account binding. What binds accounts is there for those alone who may manage such keys.
type acmeAccount struct {
	ID                 int32        `json:"id"`
	AccountID          string       `json:"accountId,omitempty"`
	MACID              string       `json:"macId,omitempty"`
	MACKey             string       `json:"macKey,omitempty"`
	ACMEServer         string       `json:"acmeServer,omitempty"`
	Name               string       `json:"name"`
	OrganizationID     auth.OrgID   `json:"organizationId"`
	CertValidationType string       `json:"certValidationType,omitempty"`
	ProfileName        string       `json:"profileName,omitempty"`
	Status             string       `json:"status,omitempty"` // v1 has it, and Domains
	Domains            []acmeDomain `json:"domains,omitzero"`
}

type acmeDomain struct {
	Name string `json:"name"`
}

// The statuses of an account, as v1 shows them.
const (
	acmePending     = "pending"     // no client has an ACME account by it
	acmeValid       = "valid"       // some have
	acmeDeactivated = "deactivated" // no further client gets one
)

func (s *Server) acmeStatus(k auth.EABState) string {
	switch {
	case !k.Revoked.IsZero() || !k.Expires.IsZero() && !s.Now().Before(k.Expires):
		return acmeDeactivated
	case k.Bound > 0:
		return acmeValid
	default:
		return acmePending
	}
}

// acmeView is a key as the caller may see it.
func (s *Server) acmeView(c *call, k auth.EABState, private bool) (acmeAccount, error) {
	a := acmeAccount{ID: k.Number, Name: k.Label, OrganizationID: k.Org, ACMEServer: s.acmeServerOf(k.EABKey).URL}
	if private {
		a.ProfileName = profileOfKey(k.EABKey)
	} else {
		a.CertValidationType = validationType
	}
	if !c.v2 {
		a.Status, a.Domains = s.acmeStatus(k), toACMEDomains(k.Domains)
	}
	mac, err := s.External.MACKey(c.ctx, c.caller, k.EABKey)
	switch {
	case problem.Is(err, problem.Unauthorized):
		return a, nil
	case err != nil:
		return a, err
	}
	defer clear(mac)
	a.AccountID, a.MACID = k.EABKey.ID, k.EABKey.ID
	a.MACKey = base64.RawURLEncoding.EncodeToString(mac)
	return a, nil
}

func toACMEDomains(names []string) []acmeDomain {
	list := make([]acmeDomain, len(names))
	for i, name := range names {
		list[i].Name = name
	}
	return list
}

// profileOfKey is the profile that the accounts of a key are held to, if it is one.
func profileOfKey(k *auth.EABKey) string {
	if len(k.Profiles) == 1 {
		return k.Profiles[0]
	}
	return ""
}

// acmeNumber reads the number of an account from the path; one that is none is absent.
func (c *call) acmeNumber() int32 {
	n, err := strconv.ParseInt(c.args["id"], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// noACMEAccount makes the absence of an account a 404. What else is there says so in its own words.
func (c *call) noACMEAccount(err error) error {
	if problem.Is(err, problem.NotFound) {
		return missing(problem.New(problem.NotFound, "there is no ACME account %s", quoted(c.args["id"])))
	}
	return err
}

func (s *Server) acmeAccount(c *call, private bool) error {
	k, err := s.External.ByNumber(c.ctx, c.caller, c.acmeNumber())
	if err != nil {
		return c.noACMEAccount(err)
	}
	a, err := s.acmeView(c, k, private)
	if err != nil {
		return err
	}
	return c.answer(a)
}
