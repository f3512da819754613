package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestDecide(t *testing.T) {
	cfg := basic()
	cfg.Validity, cfg.Backdate = time.Hour, 5*time.Minute
	cfg.Subject.Organization = "Example"
	p := mustNew(t, cfg)
	r := goodRequest(t, "www.example.com", "10.0.0.1", "a.example.com")
	r.ProfileHash = p.Hash()
	d, err := p.Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	if d.Profile != p || d.Requester != r.Requester || d.PublicKey != r.CSR.PublicKey {
		t.Error("profile, requester or key are not the request's")
	}
	if values(d.Names) != "a.example.com www.example.com 10.0.0.1" || d.CommonName != "a.example.com" {
		t.Errorf("names %v, CN %q", d.Names, d.CommonName)
	}
	if d.Subject != (Subject{Organization: "Example"}) {
		t.Errorf("subject %+v", d.Subject)
	}
	// RFC 5280, 4.1.2.5: inclusive.
	if want := time.Date(2026, 9, 1, 11, 55, 0, 0, time.UTC); !d.NotBefore.Equal(want) || !d.NotAfter.Equal(want.Add(time.Hour-time.Second)) {
		t.Errorf("valid from %v to %v", d.NotBefore, d.NotAfter)
	}
}

// TestCSRMayLackNames: at other doors than ACME names may stand beside the CSR; what is issued has them all.
func TestCSRMayLackNames(t *testing.T) {
	p := mustNew(t, unvalidated())
	r := goodRequest(t, "www.example.com")
	r.Requester = Requester{Org: 1, Door: "scm", Principal: "user:7"}
	r.Names = append(r.Names, dnsName(t, "b.example.com"))
	r.Proofs = p.Unvalidated(r.Requester, r.Names, r.Now)
	for _, csr := range []*CSR{r.CSR, {PublicKey: r.CSR.PublicKey}} {
		r.CSR = csr
		d, err := p.Decide(r)
		if err != nil {
			t.Fatal(err)
		}
		if values(d.Names) != "b.example.com www.example.com" {
			t.Errorf("names %v", d.Names)
		}
	}
}

func TestDecideRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Request)
		kind   problem.Kind
		says   string
	}{
		{"no organisation", func(r *Request) { r.Requester.Org = 0 }, problem.Unauthorized, "nobody"},
		{"no principal", func(r *Request) { r.Requester.Principal = "" }, problem.Unauthorized, "nobody"},
		{"account without number", func(r *Request) { r.Requester.Principal = "acme:" }, problem.Unauthorized, "nobody"},
		{"profile changed", func(r *Request) { r.ProfileHash = "00" }, problem.Unauthorized, "has changed"},
		{"no CSR", func(r *Request) { r.CSR = nil }, problem.BadCSR, "no CSR"},
		{"RFC 8555 7.4 CSR lacks a name", func(r *Request) { r.Names = append(r.Names, dnsName(t, "b.example.com")) }, problem.BadCSR, "lacks b.example.com"},
		{"RFC 8555 7.4 CSR adds a name", func(r *Request) { r.CSR = csrFor(t, "www.example.com", "b.example.com") }, problem.BadCSR, "adds b.example.com"},
		{"RFC 8555 7.4 CSR for another name", func(r *Request) { r.CSR = csrFor(t, "b.example.com") }, problem.BadCSR, "other names"},
		{"RFC 8555 7.4 wildcard is not its base", func(r *Request) { r.CSR = csrFor(t, "*.www.example.com") }, problem.BadCSR, "other names"},
		{"another door's CSR adds a name", func(r *Request) {
			r.Requester.Door, r.CSR = "scm", csrFor(t, "www.example.com", "b.example.com")
		}, problem.BadCSR, "adds b.example.com"},
		{"the gateway's own CSR is for other names", func(r *Request) {
			r.Requester.Door, r.CSR = "console", csrFor(t, "b.example.com")
		}, problem.BadCSR, "adds b.example.com"},
		{"no names at all", func(r *Request) { r.Names, r.CSR = nil, &CSR{} }, problem.Malformed, "no names"},
		{"name refused by then", func(r *Request) {
			r.Names, r.CSR, r.Proofs = names(t, "co.uk"), csrFor(t, "co.uk"), proofs(t, "co.uk")
		}, problem.RejectedIdentifier, "public suffix"},
		{"key refused", func(r *Request) { r.CSR = &CSR{Names: r.CSR.Names, PublicKey: "no key"} }, problem.BadCSR, "not certified"},
		{"no proof", func(r *Request) { r.Proofs = nil }, problem.Unauthorized, "no proof"},
		{"proof of another name", func(r *Request) { r.Proofs = proofs(t, "b.example.com") }, problem.Unauthorized, "no proof"},
		{"proof of the parent", func(r *Request) { r.Proofs = proofs(t, "example.com") }, problem.Unauthorized, "no proof"},
		{"proof of another account", func(r *Request) { r.Proofs[0].Account = "8" }, problem.Unauthorized, "belongs to the requester"},
		{"proof of another organisation", func(r *Request) { r.Proofs[0].Org = 2 }, problem.Unauthorized, "belongs to the requester"},
		{"proof of no account", func(r *Request) { r.Proofs[0].Account = "" }, problem.Unauthorized, "belongs to the requester"},
		{"account's proof for another principal", func(r *Request) { r.Requester.Principal = "uid:7" }, problem.Unauthorized, "belongs to the requester"},
		{"account's proof for a bare number", func(r *Request) { r.Requester.Principal = "7" }, problem.Unauthorized, "belongs to the requester"},
		{"method the profile does not take", func(r *Request) { r.Proofs[0].Method = "dns-01" }, problem.Unauthorized, "does not take"},
		{"no method", func(r *Request) { r.Proofs[0].Method = "" }, problem.Unauthorized, "does not take"},
		{"proof ran out", func(r *Request) { r.Proofs[0].At = testNow.Add(-24 * time.Hour) }, problem.Unauthorized, "too long ago"},
		{"proof was ended", func(r *Request) { r.Proofs[0].Until = testNow }, problem.Unauthorized, "too long ago"},
		{"proof without a time", func(r *Request) { r.Proofs[0].At = time.Time{} }, problem.Unauthorized, "no possible time"},
		{"proof from the future", func(r *Request) { r.Proofs[0].At = testNow.Add(31 * time.Second) }, problem.Unauthorized, "no possible time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := goodRequest(t, "www.example.com")
			c.change(&r)
			d, err := mustNew(t, basic()).Decide(r)
			wantProblem(t, err, c.kind, c.says)
			if d != nil {
				t.Error("a refusal came with a decision")
			}
		})
	}
	r := goodRequest(t, "www.example.com")
	r.Now = time.Time{}
	if _, err := mustNew(t, basic()).Decide(r); err == nil || problem.From(err).Kind != problem.Internal {
		t.Errorf("a request without a time is our fault: %v", err)
	}
}

func TestDecideAcceptsWhatIsStillGood(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"last moment of the lifetime": func(r *Request) { r.Proofs[0].At = testNow.Add(-24*time.Hour + 1) },
		"last moment before the end":  func(r *Request) { r.Proofs[0].Until = testNow.Add(1) },
		"clock of another gateway":    func(r *Request) { r.Proofs[0].At = testNow.Add(30 * time.Second) },
		"worse proofs beside it": func(r *Request) {
			bad := r.Proofs[0]
			bad.Org = 2
			r.Proofs = append([]Proven{bad}, r.Proofs...)
		},
		"the organisation's own proof": func(r *Request) { r.Requester.Principal, r.Proofs[0].Account = "uid:1", "" },
		"names repeated":               func(r *Request) { r.Names = append(r.Names, r.Names...) },
		"no hash pinned":               func(r *Request) { r.ProfileHash = "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := goodRequest(t, "www.example.com")
			change(&r)
			if _, err := mustNew(t, basic()).Decide(r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecideReportsEveryUnprovedName(t *testing.T) {
	r := goodRequest(t, "a.example.com", "b.example.com", "c.example.com")
	r.Proofs = proofs(t, "b.example.com")
	pe := wantProblem(t, second(mustNew(t, basic()).Decide(r)), problem.Unauthorized, "2 of the 3")
	if len(pe.Parts) != 2 || pe.Parts[0].Identifier.Value() != "a.example.com" || pe.Parts[1].Identifier.Value() != "c.example.com" {
		t.Errorf("parts %+v", pe.Parts)
	}
}

// Baseline Requirements 3.2.2.4.19: http-01 shows nothing about other hosts below the name.
func TestHTTP01NeverProvesAWildcard(t *testing.T) {
	p := mustNew(t, basic())
	p.wildcards = true
	wild := dnsName(t, "*.example.com")
	for _, id := range []identifier.Identifier{wild, wild.Base()} {
		proof := Proven{Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id, At: testNow, Secure: true}, Org: 1, Account: "7"}
		if p.Suffices(proof, Requester{Org: 1, Principal: "acme:7"}, wild, testNow) {
			t.Errorf("a proof for %v covers %v", id, wild)
		}
	}
	if methods := p.MethodsFor(wild); len(methods) != 0 {
		t.Errorf("%v is offered for a wildcard", methods)
	}
	if !slices.Equal(p.MethodsFor(wild.Base()), []dcv.Method{dcv.HTTP01}) || len(p.MethodsFor(identifier.Identifier{})) != 0 {
		t.Error("MethodsFor is wrong")
	}
}

func TestDecidePublicLimitsFallOnTheirDay(t *testing.T) {
	cfg := public()
	cfg.Validity, cfg.ProofLifetime = 200*day, 200*day
	p := mustNew(t, cfg)
	for _, c := range []struct {
		now             time.Time
		validity, reuse time.Duration
	}{
		{date(2027, 3, 15).Add(-time.Second), 200 * day, 200 * day},
		{date(2027, 3, 15), 100 * day, 100 * day},
		{date(2029, 3, 15), 47 * day, 10 * day},
	} {
		r := goodRequest(t, "www.example.com")
		r.Now, r.Proofs[0].At = c.now, c.now.Add(-c.reuse+time.Second)
		d, err := p.Decide(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.NotAfter.Sub(d.NotBefore) + time.Second; got != c.validity {
			t.Errorf("at %v: valid for %v, want %v", c.now, got, c.validity)
		}
		r.Proofs[0].At = c.now.Add(-c.reuse)
		wantProblem(t, second(p.Decide(r)), problem.Unauthorized, "too long ago")
		if until := p.ProofUntil(c.now); !until.Equal(c.now.Add(c.reuse)) {
			t.Errorf("at %v: a proof is good until %v", c.now, until)
		}
	}
}

func TestCommonName(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example" // 68 characters
	fits := strings.Repeat("b", 56) + ".example" // 64
	withCN := func(cn string, values ...string) Request {
		r := goodRequest(t, values...)
		csr := *r.CSR
		csr.CommonName = cn
		r.CSR = &csr
		return r
	}
	for _, c := range []struct {
		name string
		rule CommonNameRule
		r    Request
		want string
	}{
		{"first", CommonNameFirstSAN, withCN("b.example", "b.example", "a.example"), "a.example"},
		{"RFC 5280 A.1 first that fits", CommonNameFirstSAN, withCN("", long, fits), fits},
		{"RFC 5280 A.1 none fits", CommonNameFirstSAN, withCN("", long), ""},
		{"from CSR", CommonNameFromCSR, withCN("b.example", "b.example", "a.example"), "b.example"},
		{"from CSR without", CommonNameFromCSR, withCN("", "a.example"), ""},
		{"RFC 5280 A.1 from CSR too long", CommonNameFromCSR, withCN(long, long), ""},
		{"none", CommonNameNone, withCN("a.example", "a.example"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := basic()
			cfg.CommonName = c.rule
			d, err := mustNew(t, cfg).Decide(c.r)
			if err != nil || d.CommonName != c.want {
				t.Errorf("got %+v, %v; want CN %q", d, err, c.want)
			}
		})
	}
}

func TestSubjectFromCSR(t *testing.T) {
	requested := Subject{Country: "NO", Organization: "Requested", OrganizationalUnit: "Unit"}
	for _, c := range []struct {
		name     string
		fixed    Subject
		from     []SubjectField
		csr      Subject
		unusable []SubjectField
		want     Subject
		says     string
	}{
		{"nothing listed", Subject{}, nil, requested, nil, Subject{}, ""},
		{"fixed", Subject{Organization: "Fixed"}, nil, requested, nil, Subject{Organization: "Fixed"}, ""},
		{"listed", Subject{Organization: "Fixed"}, []SubjectField{Country}, requested, nil, Subject{Organization: "Fixed", Country: "NO"}, ""},
		{"listed and absent", Subject{}, []SubjectField{Locality}, requested, nil, Subject{}, ""},
		{"unusable but not listed", Subject{}, []SubjectField{Country}, requested, []SubjectField{Organization}, Subject{Country: "NO"}, ""},
		{"unusable", Subject{}, []SubjectField{Organization}, requested, []SubjectField{Organization}, Subject{}, "twice"},
		{"RFC 5280 A.1", Subject{}, []SubjectField{Organization}, Subject{Organization: strings.Repeat("x", 65)}, nil, Subject{}, "longer"},
		{"control character", Subject{}, []SubjectField{Organization}, Subject{Organization: "a\nb"}, nil, Subject{}, "control"},
		{"country", Subject{}, []SubjectField{Country}, Subject{Country: "no"}, nil, Subject{}, "upper-case"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := basic()
			cfg.Subject, cfg.SubjectFromCSR = c.fixed, c.from
			r := goodRequest(t, "www.example.com")
			csr := *r.CSR
			csr.Subject, csr.unusable = c.csr, c.unusable
			r.CSR = &csr
			d, err := mustNew(t, cfg).Decide(r)
			if c.says != "" {
				wantProblem(t, err, problem.BadCSR, c.says)
				return
			}
			if err != nil || d.Subject != c.want {
				t.Errorf("got %+v, %v; want %+v", d, err, c.want)
			}
		})
	}
}

// Whatever the profile's times, a certificate lies inside them and begins in the past.
func TestDecideKeepsTheTimes(t *testing.T) {
	r := goodRequest(t, "www.example.com")
	rapid.Check(t, func(rt *rapid.T) {
		cfg := basic()
		cfg.Validity = time.Duration(rapid.Int64Range(2, 400*86400).Draw(rt, "validity")) * time.Second
		cfg.Backdate = time.Duration(rapid.Int64Range(0, int64(cfg.Validity/time.Second)-1).Draw(rt, "backdate")) * time.Second
		if rapid.Bool().Draw(rt, "public") {
			cfg.Mode, cfg.Now = Public, testNow
			cfg.Validity, cfg.Backdate = min(cfg.Validity, 200*day), min(cfg.Backdate, 2*day)
			cfg.Backdate = min(cfg.Backdate, cfg.Validity-time.Second)
		}
		p, err := New(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		r.Now = testNow.Add(time.Duration(rapid.Int64Range(0, int64(5*365*day)).Draw(rt, "later")))
		r.Proofs[0].At = r.Now
		d, err := p.Decide(r)
		if err != nil {
			rt.Fatal(err)
		}
		validity := d.NotAfter.Sub(d.NotBefore) + time.Second
		switch {
		case d.NotBefore.Nanosecond() != 0 || d.NotBefore.Location() != time.UTC:
			rt.Fatalf("notBefore %v", d.NotBefore)
		case d.NotBefore.After(r.Now) || r.Now.Sub(d.NotBefore) >= cfg.Backdate+time.Second:
			rt.Fatalf("notBefore %v at %v with backdate %v", d.NotBefore, r.Now, cfg.Backdate)
		case validity > cfg.Validity || !p.Public() && validity != cfg.Validity || p.Public() && validity > limitAt(r.Now).validity:
			rt.Fatalf("valid for %v", validity)
		}
	})
}
