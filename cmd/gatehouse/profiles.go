package main

import (
	"bufio"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// issuers loads certificates and opens keys by way of keys, which stay open for as long as the process lives. Every issuer's CRL and
// certificate are at the plain HTTP URL.
func (c *fileConfig) issuers(keys *ca.Keys) ([]ca.Issuer, error) {
	var list []ca.Issuer
	for _, name := range slices.Sorted(maps.Keys(c.Issuers)) {
		i, err := c.issuer(name, keys)
		if err != nil {
			return nil, errors.Join(err, keys.Close())
		}
		list = append(list, i)
	}
	return list, nil
}

func (c *fileConfig) issuer(name string, keys *ca.Keys) (ca.Issuer, error) {
	ic, where := c.Issuers[name], "issuers."+name
	chain, err := ca.LoadChain(ic.Chain)
	if err != nil {
		return ca.Issuer{}, c.source.at(where+".chain", err)
	}
	var alternates [][]*x509.Certificate
	for n, path := range ic.Alternates {
		alternate, err := ca.LoadChain(path)
		if err != nil {
			return ca.Issuer{}, c.source.at(fmt.Sprintf("%s.alternates[%d]", where, n), err)
		}
		alternates = append(alternates, alternate)
	}
	signer, err := keys.Open(ic.Key)
	if err != nil {
		return ca.Issuer{}, c.source.at(where+".key", err)
	}
	backend, err := ca.NewSoftCAS(chain, signer)
	if err != nil {
		return ca.Issuer{}, c.source.at(where, err)
	}
	i := issuer(name, c.HTTP.URL, chain, backend, ic.Concurrency, time.Duration(ic.SignTimeout))
	i.Alternates = alternates
	return i, nil
}

func issuer(name, httpURL string, chain []*x509.Certificate, backend ca.Backend, concurrency int, timeout time.Duration) ca.Issuer {
	return ca.Issuer{
		Name: name, Chain: chain, Backend: backend,
		CRLURL: httpURL + "/crl/" + name + "/0.crl", IssuerURL: httpURL + "/issuer/" + name + ".crt",
		MaxConcurrent: concurrency, SignTimeout: timeout,
	}
}

// profiles checks them all; every fault is reported with its line.
func (c *fileConfig) profiles(now time.Time) (map[string]*policy.Profile, error) {
	out := map[string]*policy.Profile{}
	fields, err := c.customFields()
	if err != nil {
		return out, err // what profiles say of fields cannot be judged
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p, err := c.profile(name, fields, now)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out[name] = p
	}
	return out, errors.Join(append(faults, c.profileNumbers())...)
}

// profileNumbers refuses a number that two profiles have.
func (c *fileConfig) profileNumbers() error {
	var faults []error
	of := map[int32]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		n := c.Profiles[name].Number
		if first, taken := of[n]; taken && n != 0 {
			faults = append(faults, c.source.at("profiles."+name+".number", fmt.Errorf("number %d is that of the profile %q; give each a number of its own, and never one that another profile has had", n, first)))
			continue
		}
		of[n] = name
	}
	return errors.Join(faults...)
}

func (c *fileConfig) profile(name string, fields *policy.Fields, now time.Time) (*policy.Profile, error) {
	pc := c.Profiles[name]
	where := "profiles." + name
	if _, ok := c.Issuers[pc.Issuer]; !ok {
		return nil, c.source.at(where+".issuer", fmt.Errorf("issuer %q is not defined under issuers", pc.Issuer))
	}
	cfg := policy.Config{
		Name: name, Description: pc.Description, Issuer: pc.Issuer, Mode: policy.Mode(pc.Mode),
		Fields: fields, MandatoryFields: pc.MandatoryFields, DCV: policy.Requirement(pc.DCV),
		Validity: time.Duration(pc.Validity), Backdate: time.Duration(pc.Backdate), KeyTypes: words[policy.KeyType](pc.KeyTypes),
		KeyUsages: pc.KeyUsages, ExtKeyUsages: pc.ExtKeyUsages, AllowNames: pc.AllowNames, DenyNames: pc.DenyNames,
		AllowWildcards: pc.AllowWildcards, AllowInternalNames: pc.AllowInternal, MaxNames: pc.MaxNames,
		CommonName: policy.CommonNameRule(pc.CommonName), Subject: policy.Subject(pc.Subject),
		SubjectFromCSR: words[policy.SubjectField](pc.SubjectFromCSR), Lint: policy.Lint(pc.Lint),
		DCVMethods: words[dcv.Method](pc.DCVMethods), ProofLifetime: time.Duration(pc.ProofLifetime), Now: now,
		DelegatedDomains: pc.DelegatedDomains, DomainProofLifetime: time.Duration(pc.DomainProofLifetime),
		CAA: policy.CAARule(pc.CAA), CAALifetime: time.Duration(pc.CAALifetime),
		DNSSEC: dcv.DNSSEC(pc.DNSSEC), RequestedValidity: policy.RequestedRule(pc.Requested),
		Number: pc.Number, Quota: policy.Quota{Certificates: pc.Quota.Certificates, PerName: pc.Quota.PerName},
		ServerKeys: policy.ServerKeyRule(pc.ServerKeys),
		Approvals: policy.ApprovalRule{
			Required: pc.Approvals.Required, Role: policy.ApproverRole(pc.Approvals.Role), Lifetime: time.Duration(pc.Approvals.Lifetime),
			BindKey: pc.Approvals.BindKey, Renewals: policy.RenewalRule(pc.Approvals.Renewals),
		},
	}
	for _, term := range pc.Terms {
		cfg.Terms = append(cfg.Terms, time.Duration(term))
	}
	for _, text := range pc.PrivateRanges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, c.source.at(where+".private_ranges", fmt.Errorf("%q is no address range; write for example 10.0.0.0/8", text))
		}
		cfg.PrivateRanges = append(cfg.PrivateRanges, r)
	}
	if pc.BlockedKeys != "" {
		var err error
		if cfg.BlockedKeys, err = readBlockedKeys(pc.BlockedKeys); err != nil {
			return nil, c.source.at(where+".blocked_keys", err)
		}
	}
	p, err := policy.New(cfg)
	if err == nil {
		return p, nil
	}
	return nil, c.profileFaults(where, err)
}

// warnOfUnvalidated names the profiles under which control over names is not validated.
func (s *settings) warnOfUnvalidated(log *slog.Logger) {
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		if s.profiles[name].Requirement() == policy.NoValidation {
			log.Warn("the profile requires no validation of control: whoever may use it gets certificates for the names that it allows", "profile", name)
		}
	}
}

// profileFaults puts the line in front of each of a profile's faults.
func (c *fileConfig) profileFaults(where string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return c.source.at(where, err)
	}
	var faults []error
	for _, fault := range joined.Unwrap() {
		path := where
		if ce, ok := errors.AsType[*policy.ConfigError](fault); ok {
			path += "." + ce.Field
		}
		faults = append(faults, c.source.at(path, fault))
	}
	return errors.Join(faults...)
}

func words[T ~string](list []string) []T {
	var out []T
	for _, w := range list {
		out = append(out, T(w))
	}
	return out
}

// readBlockedKeys reads a hex SHA-256 a line; empty lines and those that start with # are passed over.
func readBlockedKeys(path string) ([][32]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var keys [][32]byte
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != 32 {
			return nil, fmt.Errorf("%s:%d: not the 64 hex digits of a SHA-256", path, n)
		}
		keys = append(keys, [32]byte(sum))
	}
	return keys, lines.Err()
}

// defaultProfile is the one that /acme/directory serves.
func (c *fileConfig) defaultProfile() (string, error) {
	name := c.ACME.DefaultProfile
	if name == "" && len(c.Profiles) == 1 {
		for name := range c.Profiles {
			return name, nil
		}
	}
	if _, ok := c.Profiles[name]; !ok {
		return "", c.source.at("acme.default_profile", fmt.Errorf("default_profile %q is not defined; name one of: %s", name, strings.Join(slices.Sorted(maps.Keys(c.Profiles)), ", ")))
	}
	return name, nil
}
