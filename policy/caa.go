package policy

import (
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// CAARule says whether CAA records are asked before a certificate is issued (RFC 8659).
type CAARule string

// The rules.
const (
	CAAOff CAARule = "off"
	CAAOn  CAARule = "on"
)

// DefaultCAALifetime is how old a permission may be at signing, and the most in public mode (Baseline Requirements
// 3.2.2.8, which would also let it live as long as the record's TTL, if that is longer).
const DefaultCAALifetime = 8 * time.Hour

// caaMargin is how much of its life a permission must have left when issuance begins, so that it is not too old when the
// signature is made.
const caaMargin = time.Minute

// CAA is what a certificate for one of its names needs by RFC 8659.
type CAA struct {
	Identifier identifier.Identifier // a DNS name; addresses have no CAA
	Methods    []dcv.Method          // those whose proofs suffice for the name (RFC 8657, section 4)
	// Permission is one that is not too old. If it is zero, or once it is too old, another must be looked up before
	// anything is signed.
	Permission dcv.CAA
}

// setCAA reads whether and how often CAA is asked.
func (p *Profile) setCAA(c *checker, cfg Config) {
	switch cfg.CAA {
	case CAAOn:
		p.caa = true
	case CAAOff, "":
		p.caa = p.public
		if p.public && cfg.CAA == CAAOff {
			c.refuse("caa", "public trust requires CAA to be asked (Baseline Requirements 3.2.2.8); leave it out")
		}
	default:
		c.refuse("caa", `%q is none of "on" and "off"`, cfg.CAA)
	}
	switch lifetime := cfg.CAALifetime; {
	case !p.caa:
		if lifetime != 0 {
			c.refuse("caa_lifetime", "CAA is not asked, so its answers have no lifetime; add caa: on or leave it out")
		}
		return
	case lifetime < 0 || lifetime%time.Second != 0:
		c.refuse("caa_lifetime", "%v is not a positive number of whole seconds; write, for example, 8h", lifetime)
	case p.public && lifetime > DefaultCAALifetime:
		c.refuse("caa_lifetime", "%v is more than the %v that public trust allows (Baseline Requirements 3.2.2.8); shorten it", lifetime, DefaultCAALifetime)
	}
	p.caaLifetime = cfg.CAALifetime
	if p.caaLifetime == 0 {
		p.caaLifetime = DefaultCAALifetime
	}
	if p.own {
		c.refuse("caa", "the gateway's own certificate is issued for configured names; leave it out")
	}
}

// ChecksCAA reports whether CAA is asked for every DNS name, at its validation and again at signing when that was too
// long ago.
func (p *Profile) ChecksCAA() bool { return p.caa }

// permissions says what CAA has permitted so far, for each DNS name; nil if the profile does not ask. Only proofs that
// suffice count: another account's permission is none.
func (p *Profile) permissions(r Request, names []identifier.Identifier) []CAA {
	if !p.caa {
		return nil
	}
	var all []CAA
	for _, id := range names {
		if id.Type() != identifier.DNS {
			continue
		}
		needed := CAA{Identifier: id}
		for _, proof := range r.Proofs {
			if p.lackingHere(proof, r, id) != "" {
				continue
			}
			if !slices.Contains(needed.Methods, proof.Method) {
				needed.Methods = append(needed.Methods, proof.Method)
			}
			if p.permits(proof.CAA, id, r.Now) && proof.CAA.At.After(needed.Permission.At) {
				needed.Permission = proof.CAA
			}
		}
		all = append(all, needed)
	}
	return all
}

// permits reports whether a permission is for the name, authenticated if it must be, and young enough at now.
func (p *Profile) permits(c dcv.CAA, id identifier.Identifier, now time.Time) bool {
	return c.Identifier == id && p.secureEnough(c.Secure) && !c.At.IsZero() && !c.At.After(now.Add(maxSkew)) && now.Add(caaMargin).Before(c.At.Add(p.caaLifetime))
}
