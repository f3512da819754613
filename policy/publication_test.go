package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// published is a profile with every method.
func published() Config {
	cfg := every()
	cfg.DCVMethods = append(cfg.DCVMethods, publications...)
	return cfg
}

// TestWhichPublicationProvesWhat is the whole table: Baseline Requirements 3.2.2.4.7, 3.2.2.4.18, 3.2.2.5.1.
func TestWhichPublicationProvesWhat(t *testing.T) {
	p := mustNew(t, published())
	csr := []byte("csr")
	for m, proves := range map[dcv.Method]string{
		dcv.HTTPFile: "www.example.com 192.0.2.1", dcv.HTTPSFile: "www.example.com 192.0.2.1", dcv.CSRHashHTTP: "www.example.com 192.0.2.1",
		dcv.CSRHashHTTPS: "www.example.com 192.0.2.1", dcv.DNSTXT: "www.example.com *.example.com", dcv.DNSCNAME: "www.example.com *.example.com",
		dcv.CSRHashCNAME: "www.example.com *.example.com", dcv.EmailConstructed: "", "ca-other": "",
	} {
		for _, name := range []string{"www.example.com", "*.example.com", "192.0.2.1"} {
			id := names(t, name)[0]
			want := slices.Contains(strings.Fields(proves), name)
			r := Request{Requester: Requester{Org: 1, Principal: "user:9"}, Now: testNow, CSR: &CSR{Raw: csr}}
			proof := Proven{Proof: dcv.Proof{Method: m, Identifier: id.Base(), At: testNow}, Org: 1, Principal: "user:9"}
			if m.FromCSR() {
				proof.CSR = sha256.Sum256(csr)
			}
			if why := p.lackingHere(proof, r, id); (why == "") != want {
				t.Errorf("%s of %s: %q, want %v", m, name, why, want)
			}
			if got := slices.Contains(p.PublicationsFor(id), m); got != want {
				t.Errorf("%s is offered for %s: %v", m, name, got)
			}
			if slices.Contains(p.ChallengesFor(id), m) {
				t.Errorf("%s is offered as a challenge", m)
			}
			if err := p.CheckMethod(m, id, nil); (err == nil) != want || err != nil && !problem.Is(err, problem.Malformed) {
				t.Errorf("%s chosen for %s: %v", m, name, err)
			}
		}
	}
	if got := p.ChallengesFor(dnsName(t, "www.example.com")); len(got) != 3 {
		t.Errorf("ACME offers %v", got)
	}
	if err := mustNew(t, every()).CheckMethod(dcv.DNSTXT, dnsName(t, "example.com"), nil); !problem.Is(err, problem.Malformed) {
		t.Errorf("a profile that has no such method: %v", err)
	}
}

// TestPublicationsServeOneRequest: no other principal, account or CSR.
func TestPublicationsServeOneRequest(t *testing.T) {
	p := mustNew(t, published())
	id := dnsName(t, "www.example.com")
	csr := &CSR{Raw: []byte("csr")}
	good := Proven{Proof: dcv.Proof{Method: dcv.CSRHashHTTP, Identifier: id, At: testNow}, Org: 1, Principal: "user:9", CSR: sha256.Sum256(csr.Raw)}
	plain := good
	plain.Method, plain.CSR = dcv.DNSTXT, [32]byte{}
	by := Requester{Org: 1, Principal: "user:9"}
	for _, row := range []struct {
		name  string
		proof Proven
		by    Requester
		csr   *CSR
		says  string
	}{
		{"its own", good, by, csr, ""},
		{"a random value", plain, by, &CSR{Raw: []byte("another")}, ""},
		{"another principal", good, Requester{Org: 1, Principal: "user:8"}, csr, "belongs to the requester"},
		{"another principal's random value", plain, Requester{Org: 1, Principal: "user:8"}, csr, "belongs to the requester"},
		{"an account", plain, Requester{Org: 1, Principal: "acme:9"}, csr, "belongs to the requester"},
		{"another organisation", good, Requester{Org: 2, Principal: "user:9"}, csr, "belongs to the requester"},
		{"nobody's", func() Proven { n := plain; n.Principal = ""; return n }(), by, csr, "belongs to the requester"},
		{"nobody", func() Proven { n := plain; n.Principal = ""; return n }(), Requester{Org: 1}, csr, "belongs to the requester"},
		{"a challenge's of a principal", func() Proven { n := plain; n.Method = dcv.DNS01; return n }(), Requester{Org: 1, Principal: "user:8"}, csr, "belongs to the requester"},
		{"another CSR", good, by, &CSR{Raw: []byte("another")}, "another CSR"},
		{"no CSR", good, by, nil, "another CSR"},
		{"no hash", func() Proven { n := good; n.CSR = [32]byte{}; return n }(), by, csr, "another CSR"},
		{"too old", func() Proven { n := good; n.At = testNow.Add(-25 * time.Hour); return n }(), by, csr, "too long ago"},
	} {
		r := Request{Requester: row.by, Now: testNow, CSR: row.csr}
		if why := p.lackingHere(row.proof, r, id); (row.says == "") != (why == "") || !strings.Contains(why, row.says) {
			t.Errorf("%s: %q", row.name, why)
		}
	}
}

// TestPublicRequestTokens: Baseline Requirements 1.6.1, Request Token.
func TestPublicRequestTokens(t *testing.T) {
	cfg := Config{Name: "web", Issuer: "main", Mode: Public, Now: testNow, DCVMethods: publications}
	public := mustNew(t, cfg)
	cfg.Mode = Private
	private := mustNew(t, cfg)
	id := dnsName(t, "www.example.com")
	for alg, public256 := range map[x509.SignatureAlgorithm]bool{
		x509.SHA256WithRSA: true, x509.SHA256WithRSAPSS: true, x509.ECDSAWithSHA256: true, x509.ECDSAWithSHA384: false, x509.SHA384WithRSA: false,
		x509.SHA512WithRSA: false, x509.ECDSAWithSHA512: false, x509.PureEd25519: false, x509.UnknownSignatureAlgorithm: false,
	} {
		csr := &CSR{Raw: []byte("csr"), Signature: alg}
		proof := Proven{Proof: dcv.Proof{Method: dcv.CSRHashCNAME, Identifier: id, At: testNow, Secure: true}, Org: 1, Principal: "user:9", CSR: sha256.Sum256(csr.Raw)}
		r := Request{Requester: Requester{Org: 1, Principal: "user:9"}, Now: testNow, CSR: csr}
		for p, want := range map[*Profile]bool{public: public256, private: true} {
			if why := p.lackingHere(proof, r, id); (why == "") != want {
				t.Errorf("%v, public %v: %q", alg, p.Public(), why)
			}
			if err := p.CheckMethod(dcv.CSRHashCNAME, id, csr); (err == nil) != want {
				t.Errorf("%v, public %v: %v", alg, p.Public(), err)
			}
		}
		if err := public.CheckMethod(dcv.DNSTXT, id, csr); err != nil {
			t.Errorf("a random value, %v: %v", alg, err)
		}
	}
}

// TestLacking: what is missing is told only where nothing else refuses the request.
func TestLacking(t *testing.T) {
	cfg := published()
	cfg.Approvals = ApprovalRule{Required: 1}
	p := mustNew(t, cfg)
	r := goodRequest(t, "a.example.com", "b.example.com")
	r.Requester = Requester{Org: 1, Principal: "user:9"}
	proofs := r.Proofs
	r.Proofs = nil
	missing, err := p.Lacking(r)
	if err != nil || !slices.EqualFunc(missing, r.Names, func(a, b identifier.Identifier) bool { return a == b }) {
		t.Errorf("%v, %v", missing, err)
	}
	r.Proofs = proofs[:1]
	r.Proofs[0] = Proven{Proof: dcv.Proof{Method: dcv.DNSTXT, Identifier: dnsName(t, "a.example.com"), At: testNow}, Org: 1, Principal: "user:9"}
	if missing, err = p.Lacking(r); err != nil || len(missing) != 1 || missing[0].Value() != "b.example.com" {
		t.Errorf("%v, %v", missing, err)
	}
	r.ProfileHash = strings.Repeat("0", 64)
	if _, err = p.Lacking(r); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("another profile's hash: %v", err)
	}
	r.ProfileHash, r.Names = "", r.Names[:1]
	if _, err = p.Lacking(r); !problem.Is(err, problem.BadCSR) {
		t.Errorf("another CSR's names: %v", err)
	}
}
