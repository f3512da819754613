package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	defaultOwnValidity = 30 * 24 * time.Hour
	minOwnValidity     = time.Hour
)

// requireTLS demands one of the two forms, whole.
func (c *fileConfig) requireTLS(need func(given bool, path, example string)) error {
	t := c.TLS
	if t == nil {
		return nil
	}
	files := t.Cert != "" || t.Key != ""
	own := t.Issuer != "" || len(t.Names) > 0 || t.Validity != 0
	asks, err := t.asksClients()
	if err != nil {
		return c.source.at("tls.client_certificates", err)
	}
	const forms = "either cert and key, which are files, or issuer and names, for a certificate that the gateway issues itself"
	switch {
	case files && own:
		return c.source.at("tls", errors.New("tls holds both forms; keep "+forms))
	case !files && !own && asks:
		return c.source.at("tls.client_certificates", errors.New("client_certificates is on, and the listener speaks plain HTTP: a proxy that ends TLS shows no client's certificate; give "+forms+", and let clients reach this listener itself, or turn client_certificates off"))
	case !files && !own:
		return c.source.at("tls", errors.New("tls holds nothing; give "+forms+", or remove it to serve plain HTTP"))
	case files:
		need(t.Cert != "", "tls.cert", "tls: {cert: tls.pem, key: tls.key}")
		need(t.Key != "", "tls.key", "tls: {cert: tls.pem, key: tls.key}")
	default:
		need(t.Issuer != "", "tls.issuer", "tls: {issuer: main, names: [ca.example.com]}")
		need(len(t.Names) > 0, "tls.names", "tls: {issuer: main, names: [ca.example.com]}")
	}
	return nil
}

// asksClients reports whether clients are asked for certificates.
func (t *tlsConfig) asksClients() (bool, error) {
	switch t.ClientCertificates {
	case "", "off":
		return false, nil
	case "on":
		return true, nil
	default:
		return false, fmt.Errorf("client_certificates is %.20q; give on or off", t.ClientCertificates)
	}
}

// ownTLS checks what the gateway's own certificate is to be; nil if it issues none. Issuers, profiles and organisations
// were read before; if they have faults, those are told instead.
func (c *fileConfig) ownTLS(s *settings) (*ownCertificate, error) {
	if c.TLS == nil || c.TLS.Issuer == "" || s.issuers == nil || s.organisations == nil {
		return nil, nil
	}
	o := &ownCertificate{org: s.organisations.Default().ID}
	for _, i := range s.issuers {
		if i.Name == c.TLS.Issuer {
			o.issuer = i
		}
	}
	if o.issuer.Name == "" {
		return nil, c.source.at("tls.issuer", fmt.Errorf("issuer %q is not defined under issuers", c.TLS.Issuer))
	}
	for name, p := range s.profiles {
		if p.Public() && p.Issuer() == o.issuer.Name {
			return nil, c.source.at("tls.issuer", fmt.Errorf("issuer %q serves the public profile %q, and public trust certifies no name without a validation; name another issuer, or give cert and key", o.issuer.Name, name))
		}
	}
	if _, taken := c.Profiles[ownProfile]; taken {
		return nil, c.source.at("profiles."+ownProfile, fmt.Errorf("the name %s is that of the gateway's own certificate; give the profile another", ownProfile))
	}
	var faults []error
	for i, text := range c.TLS.Names {
		id, err := parseOwnName(text)
		if err != nil {
			faults = append(faults, c.source.at(fmt.Sprintf("tls.names[%d]", i), err))
		}
		o.names = append(o.names, id)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	o.names = identifier.SortUnique(o.names)
	return o, c.ownProfile(o)
}

// parseOwnName reads a name or an address of the gateway itself.
func parseOwnName(text string) (identifier.Identifier, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return identifier.FromAddr(a.Unmap()), nil
	}
	id, err := identifier.ParseDNS(text)
	if err == nil && id.IsWildcard() {
		err = fmt.Errorf("%q is a wildcard; list the gateway's own names and addresses", text)
	}
	return id, err
}

// ownProfile makes the profile, by which the signing gate decides about this certificate as about every other.
func (c *fileConfig) ownProfile(o *ownCertificate) error {
	validity := time.Duration(c.TLS.Validity)
	if validity == 0 {
		validity = defaultOwnValidity
	}
	if validity < minOwnValidity {
		return c.source.at("tls.validity", fmt.Errorf("%s is too short to be renewed in time; take %s or more", validity, minOwnValidity))
	}
	var err error
	o.profile, err = policy.New(policy.Config{
		Name: ownProfile, Description: "The gateway's own listener", Issuer: o.issuer.Name, Own: true,
		Validity: validity, Backdate: time.Minute, KeyTypes: []policy.KeyType{policy.ECDSAP256},
		KeyUsages: []string{"digitalSignature"}, AllowNames: o.texts(),
	})
	if err != nil {
		return c.source.at("tls.names", err)
	}
	if err := o.profile.CheckNames(o.names); err != nil {
		return c.source.at("tls.names", errors.New(problem.From(err).Detail))
	}
	return nil
}

// issuable are the profiles that the registration authority issues under and who may use them: those of the doors, as
// allowed says, and the gateway's own, which no door knows and policy keeps for the gateway itself.
func (s *settings) issuable(allowed func(auth.OrgID, string) bool) (map[string]*policy.Profile, func(auth.OrgID, string) bool) {
	if s.own == nil {
		return s.profiles, allowed
	}
	profiles := maps.Clone(s.profiles)
	profiles[ownProfile] = s.own.profile
	return profiles, func(org auth.OrgID, profile string) bool {
		return profile == ownProfile && org == s.own.org || allowed(org, profile)
	}
}
