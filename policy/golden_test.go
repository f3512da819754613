package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// TestHashesStay: orders and approvals that are open over an upgrade pin these values. They are of configurations that could be
// written before terms, custom fields and the requirement of validation were there; a value changes only with a reason that the
// changelog gives.
func TestHashesStay(t *testing.T) {
	yes := true
	for name, tt := range map[string]struct {
		cfg  Config
		hash string
	}{
		"private": {Config{
			Name: "inside", Issuer: "main", Validity: 30 * day, Backdate: time.Hour, RequestedValidity: ClampRequested,
			KeyTypes: []KeyType{ECDSAP256, Ed25519}, KeyUsages: []string{"digitalSignature"}, ExtKeyUsages: []string{"serverAuth", "clientAuth"},
			AllowNames: []string{"*.example.com", "192.0.2.0/24"}, DenyNames: []string{"vpn.example.com"}, AllowWildcards: true, AllowInternalNames: &yes,
			MaxNames: 10, CommonName: CommonNameFromCSR, Subject: Subject{Organization: "Example"}, SubjectFromCSR: []SubjectField{Locality},
			DCVMethods: []dcv.Method{dcv.TLSALPN01, dcv.DNS01, dcv.HTTP01}, ProofLifetime: time.Hour, DelegatedDomains: true, DomainProofLifetime: 60 * day,
			CAA: CAAOn, CAALifetime: time.Hour, DNSSEC: dcv.DNSSECOpportunistic, PrivateRanges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Number: 7, Quota: Quota{Certificates: 5},
		}, "23b1660df77e6e29c869261f89fd761f12111b1ab1541d6f32d022f90c1c01b0"},
		"approved": {Config{Name: "guarded", Issuer: "main", Approvals: ApprovalRule{Required: 2, Role: ByAdministrator, BindKey: true}}, "5a466eb4c74efc7f6633a825ff324d458791ff31032a92308909090cfd707d0a"},
		"public":   {Config{Name: "web", Issuer: "main", Mode: Public, Now: testNow, DelegatedDomains: true}, "c4bc97d1c0c9e976450fb34bb55337907009df46a3701fd58d259f46f199041c"},
		"own":      {own(), "d3fe82ba2e42fedc0b4191b68f9234f0b222f63e3924645f205dc3c96c02dba2"},
	} {
		if got := mustNew(t, tt.cfg).Hash(); got != tt.hash {
			t.Errorf("%s: %s, want %s", name, got, tt.hash)
		}
	}
}
