package scm

import (
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// privilegeWords are SCM's words for what names a delegation is for.
var privilegeWords = map[ra.Privilege]string{
	ra.PrivilegeDomain: "DOMAIN", ra.PrivilegeSubdomains: "SUBDOMAIN", ra.PrivilegeWildcard: "WILDCARD_1ST_LEVEL", ra.PrivilegeSubdomainWild: "WILDCARD_2ND_LEVEL",
}

// certTypes are the kinds of certificates that SCM delegates domains for. Here there is the first.
var certTypes = []string{"SSL", "SMIME", "CodeSign"}

// validationMethod is SCM's word for how a domain was validated. Here a file or a CNAME record has a random value in place of hashes
// of a CSR. "" for a method that SCM has no word for.
func validationMethod(m dcv.Method) string {
	switch m {
	case dcv.HTTPFile:
		return "HTTP_CSR_HASH"
	case dcv.HTTPSFile:
		return "HTTPS_CSR_HASH"
	case dcv.DNSCNAME:
		return "CNAME_CSR_HASH"
	case dcv.DNSTXT:
		return "DNSTXT_RANDOM_VALUE"
	case dcv.EmailConstructed, dcv.EmailCAA, dcv.EmailTXT:
		return "EMAIL"
	default:
		return ""
	}
}

// grant is a delegation that a body asks for, or wants to be taken back.
type grant struct {
	org        auth.OrgID
	privileges []ra.Privilege
}

// grant reads a delegation. Its organisation is looked up last, so that what is wrong with the body is said first.
func (c *call) grant(o *rest.Object) (grant, error) {
	o.Require("orgId", "certTypes")
	number := o.Int("orgId", 1, maxInt32)
	readCertTypes(o)
	g := grant{privileges: readPrivileges(o)}
	if err := o.Err(); err != nil {
		return g, err
	}
	var err error
	g.org, err = c.organisation(number)
	return g, err
}

// readCertTypes wants SSL among the kinds of certificates: a delegation for others alone would never have an effect.
func readCertTypes(o *rest.Object) {
	const name = "certTypes"
	list := o.Texts(name, 16, 32)
	ssl := false
	for _, text := range list {
		if !slices.ContainsFunc(certTypes, func(known string) bool { return strings.EqualFold(known, text) }) {
			o.Refuse(name, "%s is none of %s", quoted(text), strings.Join(certTypes, ", "))
		}
		ssl = ssl || strings.EqualFold(text, certTypes[0])
	}
	if !ssl {
		o.Refuse(name, "SSL is not among them, and there are no certificates of other kinds here")
	}
}

// readPrivileges reads what names a delegation is for. None are all: some clients always send the list, and leave it empty.
func readPrivileges(o *rest.Object) (list []ra.Privilege) {
	const name = "domainCertificateRequestPrivileges"
	for _, text := range o.Texts(name, 16, 32) {
		p := privilegeOf(text)
		switch {
		case p == "":
			o.Refuse(name, "%s is none of DOMAIN, SUBDOMAIN, WILDCARD_1ST_LEVEL, WILDCARD_2ND_LEVEL", quoted(text))
		case slices.Contains(list, p):
			o.Refuse(name, "%s is there twice", quoted(text))
		}
		list = append(list, p)
	}
	return list
}

// privilegeOf is the privilege that SCM calls so, in any letter case; "" for none.
func privilegeOf(text string) ra.Privilege {
	for p, word := range privilegeWords {
		if strings.EqualFold(word, text) {
			return p
		}
	}
	return ""
}

// refuseMonitoring refuses that logs be watched: nobody would look.
func refuseMonitoring(o *rest.Object, member string) {
	if o.Bool(member) {
		o.Refuse(member, "certificate transparency logs are not watched here; send false")
	}
}
