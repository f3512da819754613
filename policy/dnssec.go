package policy

import "github.com/gatehouse-ca/gatehouse/dcv"

// setDNSSEC reads what is wanted of the DNS.
func (p *Profile) setDNSSEC(c *checker, cfg Config) {
	switch {
	case !cfg.DNSSEC.Known():
		c.refuse("dnssec", "%q is none of %q, %q and %q", cfg.DNSSEC, dcv.DNSSECOff, dcv.DNSSECOpportunistic, dcv.DNSSECRequire)
	case p.public && cfg.DNSSEC != "" && cfg.DNSSEC != dcv.DNSSECRequire:
		c.refuse("dnssec", "public trust needs authenticated answers (Baseline Requirements 3.2.2.4 and 3.2.2.8); write require or leave it out")
	case p.own && cfg.DNSSEC != "":
		c.refuse("dnssec", "the gateway's own certificate is issued for configured names; leave it out")
	}
	switch p.dnssec = cfg.DNSSEC; {
	case p.public:
		p.dnssec = dcv.DNSSECRequire
	case p.dnssec == "":
		p.dnssec = dcv.DNSSECOff
	}
}

// DNSSEC is what validation and CAA want of the DNS.
func (p *Profile) DNSSEC() dcv.DNSSEC { return p.dnssec }

// dnssecHashed is the mode in the profile's hash: empty at the default.
func (p *Profile) dnssecHashed() dcv.DNSSEC {
	if p.dnssec == dcv.DNSSECOff {
		return ""
	}
	return p.dnssec
}

// secureEnough reports whether a proof or permission suffices that does or does not rest on authenticated answers alone.
// Those that were made while less was wanted are not taken over.
func (p *Profile) secureEnough(secure bool) bool { return secure || p.dnssec != dcv.DNSSECRequire }
