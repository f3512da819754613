package scm

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// acmeServer is a directory at which accounts of an organisation are made.
type acmeServer struct {
	Active             bool   `json:"active"`
	URL                string `json:"url"`
	Name               string `json:"name"`
	CertValidationType string `json:"certValidationType"`

	profile string // that all of its accounts have; empty: theirs
}

// is reports whether somebody means the server, by its URL or by its name.
func (a acmeServer) is(text string) bool {
	return a.URL != "" && (text == a.URL || strings.EqualFold(text, a.Name))
}

// acmeServers are the directories that look at the keys of an organisation: its own, and for each profile that it may use one more; where
// its own directories look at no keys, the one for everybody, unless that does not either. An account that is made at another
// directory would be bound and held to nothing.
func (s *Server) acmeServers(org auth.Org) (list []acmeServer) {
	add := func(path, name, profile string) {
		list = append(list, acmeServer{true, s.PublicURL + "/acme/" + path, name, validationType, profile})
	}
	switch {
	case org.EAB != auth.EABOff && org.EAB != 0:
		add("in/"+org.Slug+"/directory", org.Slug, "")
		for _, name := range s.acmeProfiles(org.ID) {
			add("in/"+org.Slug+"/"+name+"/directory", org.Slug+"/"+name, name)
		}
	case s.EAB != auth.EABOff && s.EAB != 0:
		add("directory", "default", "")
	}
	return list
}

// acmeProfiles are the names of the profiles that an organisation may use, of those that are configured: of the gateway's own, for
// its listener, there is no directory.
func (s *Server) acmeProfiles(org auth.OrgID) (names []string) {
	for name := range s.Registrar.Profiles {
		if s.Registrar.Allowed(org, name) && s.Organisations.Allowed(org, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// acmeServerOf is the directory that clients of a key are to use; the zero value if none looks at it.
func (s *Server) acmeServerOf(k *auth.EABKey) acmeServer {
	org, ok := s.Organisations.ByID(k.Org)
	if !ok {
		return acmeServer{}
	}
	servers := s.acmeServers(org)
	if len(servers) == 0 {
		return acmeServer{}
	}
	if i := slices.IndexFunc(servers, func(a acmeServer) bool { return a.profile != "" && a.profile == profileOfKey(k) }); i >= 0 {
		return servers[i]
	}
	return servers[0]
}

// acmeServerNamed finds the directory that a new account of an organisation is for.
func (s *Server) acmeServerNamed(id auth.OrgID, text string) (acmeServer, error) {
	org, _ := s.Organisations.ByID(id)
	servers := s.acmeServers(org)
	if i := slices.IndexFunc(servers, func(a acmeServer) bool { return a.is(text) }); i >= 0 {
		return servers[i], nil
	}
	if len(servers) == 0 {
		return acmeServer{}, wrongValue("acmeServer: no directory looks at keys of the organisation %d; the operator sets eab to optional or required first", id)
	}
	var urls []string
	for _, a := range servers[:min(len(servers), 20)] {
		urls = append(urls, a.URL)
	}
	return acmeServer{}, wrongValue("acmeServer: there is no such server for the organisation %d; give one of %s", id, strings.Join(urls, ", "))
}

// acmeServerList lists the directories of all organisations that the caller may view.
func (s *Server) acmeServerList(c *call) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	if err := c.once("caId", "certValidationType", "url", "name"); err != nil {
		return err
	}
	never, err := c.otherValidation()
	if err != nil {
		return err
	}
	address, name := strings.TrimSpace(c.query.Get("url")), strings.TrimSpace(c.query.Get("name"))
	never = never || c.query.Get("caId") != ""                // no issuer has a number
	list, total, seen := []acmeServer{}, 0, map[string]bool{} // one directory can be that of several organisations
	for _, org := range s.Organisations.Where(c.caller, auth.View) {
		for _, a := range s.acmeServers(org) {
			if never || seen[a.URL] || address != "" && address != a.URL || name != "" && !strings.EqualFold(name, a.Name) {
				continue
			}
			seen[a.URL] = true
			if total++; total > page.Position && len(list) < page.Size {
				list = append(list, a)
			}
		}
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(total))
	return c.answer(list)
}

// acmeProfileNamed is the profile that a new account of a private CA is for, at a directory.
func (s *Server) acmeProfileNamed(org auth.OrgID, name string, server acmeServer) (string, error) {
	if !slices.Contains(s.acmeProfiles(org), name) {
		return "", coded(http.StatusBadRequest, codeNoProfile, problem.New(problem.InvalidProfile, "profileName: there is no profile %s for this organisation; GET /api/acme/v1/server names them", quoted(name)))
	}
	if server.profile != "" && server.profile != name {
		return "", wrongValue("acmeServer: it is that of the profile %s, and profileName is another; give the same", server.profile)
	}
	return name, nil
}
