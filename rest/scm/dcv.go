package scm

import (
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const (
	// secondLine is the second line of files that are published: clients write two, and know this one.
	secondLine = "sectigo.com"
	// maxDomainText is the most characters of a domain's name in a request, in front of which "*." may stand.
	maxDomainText = 255
	// maxBulk is the most domains of one request. Each may take lookups in the DNS, and a mail to an address that is sent ten at once.
	maxBulk = 10
	// dcvDate is how days are written in this API, dcvTime how moments are.
	dcvDate = time.DateOnly
	dcvTime = "2006-01-02T15:04:05.000Z"
)

// dcvRoutes are of the validation of domains, of v1 and v2 alike.
func dcvRoutes() []rest.Route[handler] {
	list := []rest.Route[handler]{
		{Method: http.MethodGet, Pattern: "/validation", Handle: (*Server).validations},
		{Method: http.MethodPost, Pattern: "/validation/status", Handle: (*Server).validationStatus},
		{Method: http.MethodPost, Pattern: "/validation/sync", Handle: (*Server).validationSync},
		{Method: http.MethodPost, Pattern: "/validation/clear", Handle: (*Server).validationClear},
		{Method: http.MethodPost, Pattern: "/validation/delete", Handle: (*Server).validationDelete},
		{Method: http.MethodPost, Pattern: "/validation/start/domain/txt", Handle: (*Server).startTXT},
		{Method: http.MethodPost, Pattern: "/validation/start/domain/email", Handle: (*Server).startEmail},
		{Method: http.MethodPost, Pattern: "/validation/submit/domain/email", Handle: (*Server).submitEmail},
		{Method: http.MethodPost, Pattern: "/validation/submit-bulk/domain/email", Handle: (*Server).submitEmails},
		{Method: http.MethodPost, Pattern: "/validation/submit/domain/txt", Handle: submitBy(dcv.DNSTXT)},
	}
	for word, method := range map[string]dcv.Method{"http": dcv.HTTPFile, "https": dcv.HTTPSFile, "cname": dcv.DNSCNAME} {
		list = append(list,
			rest.Route[handler]{Method: http.MethodPost, Pattern: "/validation/start/domain/" + word, Handle: startBy(method)},
			rest.Route[handler]{Method: http.MethodPost, Pattern: "/validation/submit/domain/" + word, Handle: submitBy(method)})
	}
	return list
}

// dcvDomain reads the one domain that a request is about, from domain or from domains. A wildcard is its base, whose validation by
// DNS or mail covers it.
func (c *call) dcvDomain(o *rest.Object) (string, error) {
	names, err := c.dcvDomains(o)
	switch {
	case err != nil:
		return "", err
	case len(names) > 1:
		return "", wrongValue("domains: give one domain; each has values of its own to be published")
	}
	return names[0], nil
}

// dcvDomains reads the domains that a request is about, each once, at least one.
func (c *call) dcvDomains(o *rest.Object) ([]string, error) {
	texts := o.Texts("domains", maxBulk, maxDomainText)
	if len(texts) == 0 {
		o.Require("domain")
		texts = []string{o.Text("domain", maxDomainText)}
	} else if o.Has("domain") {
		o.Refuse("domain", "give domain or domains, not both")
	}
	if err := o.Err(); err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	for _, text := range texts {
		name, err := dcvDomainName(text)
		if err != nil {
			return nil, err
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// dcvDomainName reads the name of a domain.
func dcvDomainName(text string) (string, error) {
	name, err := identifier.ParseDNS(strings.TrimPrefix(strings.TrimSpace(text), "*."))
	switch {
	case err != nil:
		return "", coded(http.StatusBadRequest, codeInvalidDomain, problem.New(problem.Malformed, "domain: %v", err))
	case name.IsWildcard() || name.IsPublicSuffix():
		return "", coded(http.StatusBadRequest, codeInvalidDomain, problem.New(problem.Malformed, "domain: %s is none that anybody can own", quoted(text)))
	}
	return name.Value(), nil
}

// dcvError gives what went wrong with a domain the numbers that clients know.
func dcvError(err error) error {
	return recoded(recoded(err, problem.NotFound, http.StatusBadRequest, codeUnknownDomain), problem.Conflict, http.StatusBadRequest, codeValidationState)
}

// oneDomain reads a body about one domain and does something with that.
func (c *call) oneDomain(do func(name string) (*ra.Domain, error)) (*ra.Domain, error) {
	o, err := c.body()
	if err != nil {
		return nil, err
	}
	name, err := c.dcvDomain(o)
	if err != nil {
		return nil, err
	}
	d, err := do(name)
	return d, dcvError(err)
}

// dcvDay writes the day of a validation, in another form where the client has asked for it.
func (c *call) dcvDay(t time.Time) string {
	if t.IsZero() || c.query.Get("dateFormat") != "" {
		return c.date(t)
	}
	return t.UTC().Format(dcvDate)
}

// dcvMoment writes a moment of a validation.
func (c *call) dcvMoment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(dcvTime)
}
