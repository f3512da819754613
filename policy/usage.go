package policy

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"slices"
)

// usage is a key usage bit with its name in RFC 5280, 4.2.1.3.
type usage struct {
	name string
	bit  x509.KeyUsage
}

// keyUsages are the usages of end entities; keyCertSign and cRLSign belong to issuers.
var keyUsages = []usage{
	{"digitalSignature", x509.KeyUsageDigitalSignature},
	{"contentCommitment", x509.KeyUsageContentCommitment},
	{"keyEncipherment", x509.KeyUsageKeyEncipherment},
	{"dataEncipherment", x509.KeyUsageDataEncipherment},
	{"keyAgreement", x509.KeyUsageKeyAgreement},
}

// publicKeyUsages are the bits public trust takes (Baseline Requirements 7.1.2.7.11).
const publicKeyUsages = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment

// extUsage is an extended key usage with its name in RFC 5280, 4.2.1.12.
type extUsage struct {
	name string
	use  x509.ExtKeyUsage
}

var extKeyUsages = []extUsage{
	{"serverAuth", x509.ExtKeyUsageServerAuth},
	{"clientAuth", x509.ExtKeyUsageClientAuth},
}

// setUsages reads key usages and extended key usages. It runs after setKeys: every key type must have a usage left.
func (p *Profile) setUsages(c *checker, cfg Config) {
	p.keyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	if len(cfg.KeyUsages) > 0 {
		p.keyUsage = 0
	}
	for _, name := range cfg.KeyUsages {
		i := slices.IndexFunc(keyUsages, func(u usage) bool { return u.name == name })
		if i < 0 {
			c.refuse("key_usages", "%q is no key usage of an end entity; known are digitalSignature, contentCommitment, keyEncipherment, dataEncipherment, keyAgreement", name)
			continue
		}
		p.keyUsage |= keyUsages[i].bit
	}
	if p.public && p.keyUsage&^publicKeyUsages != 0 {
		c.refuse("key_usages", "public trust takes digitalSignature and keyEncipherment alone (Baseline Requirements 7.1.2.7.11)")
	}
	for _, t := range p.keyTypes {
		if pub := sample(t); p.keyUsage != 0 && pub != nil && usageFor(p.keyUsage, pub) == 0 {
			c.refuse("key_usages", "none of them has a meaning for keys of type %s; add digitalSignature or remove the key type", t)
		}
	}
	p.setExtUsages(c, cfg)
}

func (p *Profile) setExtUsages(c *checker, cfg Config) {
	names := cfg.ExtKeyUsages
	if len(names) == 0 {
		names = []string{"serverAuth"}
	}
	for _, name := range names {
		i := slices.IndexFunc(extKeyUsages, func(u extUsage) bool { return u.name == name })
		if i < 0 {
			c.refuse("ext_key_usages", "%q is no extended key usage issued here; known are serverAuth, clientAuth", name)
			continue
		}
		p.extKeyUsage = append(p.extKeyUsage, extKeyUsages[i].use)
	}
	slices.Sort(p.extKeyUsage)
	p.extKeyUsage = slices.Compact(p.extKeyUsage)
	if p.public && !slices.Contains(p.extKeyUsage, x509.ExtKeyUsageServerAuth) {
		c.refuse("ext_key_usages", "public trust requires serverAuth (Baseline Requirements 7.1.2.7.10)")
	}
}

// usageFor takes from a key usage the bits that have no meaning for the key.
func usageFor(all x509.KeyUsage, pub any) x509.KeyUsage {
	const signing = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	switch pub.(type) {
	case *rsa.PublicKey: // RFC 3279, 2.3.1: RSA keys do not agree on keys
		return all & (signing | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment)
	case *ecdsa.PublicKey: // RFC 5480, section 3 with errata: EC keys do not encrypt
		return all & (signing | x509.KeyUsageKeyAgreement)
	default: // RFC 8410, section 5: Ed25519 keys sign
		return all & signing
	}
}

// sample is a value of the Go type that keys of t have, for rules that look no deeper; nil for an unknown type.
func sample(t KeyType) any {
	switch t {
	case RSA2048, RSA3072, RSA4096:
		return (*rsa.PublicKey)(nil)
	case ECDSAP256, ECDSAP384, ECDSAP521:
		return (*ecdsa.PublicKey)(nil)
	case Ed25519:
		return ed25519.PublicKey(nil)
	}
	return nil
}

// extUsageNames is the inverse of the table, for the profile's hash.
func extUsageNames(uses []x509.ExtKeyUsage) []string {
	var names []string
	for _, u := range extKeyUsages {
		if slices.Contains(uses, u.use) {
			names = append(names, u.name)
		}
	}
	return names
}
