package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// digest is the hash over everything that decides what is issued. The encoding is a JSON object with the fields in
// the order below, sets sorted, durations in seconds. A field added later must be omitted at its default, or every pinned
// profile changes with the release that adds it.
func (p *Profile) digest() string {
	ranges := make([]string, len(p.privateRanges))
	for i, r := range p.privateRanges {
		ranges[i] = r.String()
	}
	encoded, err := json.Marshal(struct {
		Name, Issuer                      string
		Public                            bool
		Validity, Backdate, ProofLifetime int64
		KeyTypes                          []KeyType
		KeyUsage                          int
		ExtKeyUsage                       []string
		Allow, Deny                       []string
		Wildcards, InternalNames          bool
		MaxNames                          int
		CommonName                        CommonNameRule
		Subject                           Subject
		SubjectFromCSR                    []SubjectField
		Lint                              Lint
		Methods                           []dcv.Method
		PrivateRanges                     []string
		CAA                               bool          `json:",omitempty"`
		CAALifetime                       int64         `json:",omitempty"`
		DNSSEC                            dcv.DNSSEC    `json:",omitempty"`
		RequestedValidity                 RequestedRule `json:",omitempty"`
		DelegatedDomains                  bool          `json:",omitempty"`
		DomainProofLifetime               int64         `json:",omitempty"`
		Approvals                         *ApprovalRule `json:",omitempty"`
		Terms                             []int64       `json:",omitempty"`
		DCV                               Requirement   `json:",omitempty"`
	}{
		p.name, p.issuer, p.public,
		int64(p.validity.Seconds()), int64(p.backdate.Seconds()), int64(p.proofLifetime.Seconds()),
		p.keyTypes, int(p.keyUsage), extUsageNames(p.extKeyUsage), p.lists.allow.all(), p.lists.deny.all(), p.wildcards, p.internalNames,
		p.maxNames, p.commonName, p.subject, p.fromCSR, p.lint, p.methods, ranges,
		p.caa, int64(p.caaLifetime.Seconds()), p.dnssecHashed(), p.requestedHashed(), p.domains, int64(p.domainReuse.Seconds()), p.approvalsHashed(),
		p.termsHashed(), p.requirementHashed(),
	})
	if err != nil { // cannot happen: strings and numbers only
		panic("policy: encoding a profile: " + err.Error())
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}
