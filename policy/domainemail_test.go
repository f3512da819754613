package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// TestWhatAMailCovers: one to a constructed address what was validated and all below it, one to a published address the name
// that published it. A sibling below the domain that the address is of is never covered.
func TestWhatAMailCovers(t *testing.T) {
	p := mustNew(t, delegated())
	by := Requester{Org: 1, Principal: "acme:7"}
	for _, row := range []struct {
		id                     string
		constructed, published bool
	}{
		{"shop.example.com", true, true}, {"www.shop.example.com", true, false}, {"*.shop.example.com", true, false}, {"*.a.shop.example.com", true, false},
		{"example.com", false, false}, {"*.example.com", false, false}, {"mail.example.com", false, false}, {"badshop.example.com", false, false}, {"192.0.2.1", false, false},
	} {
		id := names(t, row.id)[0]
		for m, want := range map[dcv.Method]bool{dcv.EmailConstructed: row.constructed, dcv.EmailCAA: row.published, dcv.EmailTXT: row.published} {
			if got := p.Suffices(domainProof(t, m, "shop.example.com"), by, id, testNow); got != want {
				t.Errorf("%s of shop.example.com covers %s: %v", m, row.id, got)
			}
		}
	}
	for _, m := range []dcv.Method{dcv.EmailConstructed, dcv.EmailCAA, dcv.EmailTXT} {
		cfg := every()
		cfg.DCVMethods = append(cfg.DCVMethods, m)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "dcv_methods") {
			t.Errorf("%s as a challenge: %v", m, err)
		}
	}
	if covers(domainProof(t, dcv.EmailConstructed, "kawasaki.jp"), names(t, "www.example.kawasaki.jp")[0]) {
		t.Error("a mail to kawasaki.jp covers what is below a public suffix")
	}
}

// TestMailEndsInPublicMode at a date, also for proofs from before it.
func TestMailEndsInPublicMode(t *testing.T) {
	cfg := delegated()
	cfg.Mode, cfg.Now, cfg.AllowNames, cfg.Issuer, cfg.DomainProofLifetime = Public, date(2027, 12, 1), nil, "main", 100*day
	public, private := mustNew(t, cfg), mustNew(t, delegated())
	by, ends := Requester{Org: 1, Principal: "acme:7"}, date(2028, 3, 15)
	if !EmailEnds().Equal(ends) {
		t.Errorf("it ends at %s", EmailEnds())
	}
	for _, m := range []dcv.Method{dcv.EmailConstructed, dcv.EmailCAA, dcv.EmailTXT, dcv.DNSTXT} {
		mail := m != dcv.DNSTXT
		proof := domainProof(t, m, "example.com")
		proof.At, proof.Secure = ends.Add(-day), true
		for now, want := range map[time.Time]bool{ends.Add(-time.Second): true, ends: !mail, ends.Add(day): !mail, ends.Add(2 * 365 * day): false} {
			if got := public.Suffices(proof, by, dnsName(t, "example.com"), now); got != want {
				t.Errorf("%s at %s in public mode: %v", m, now, got)
			}
		}
		if why := public.lacking(proof, by, dnsName(t, "example.com"), ends); mail && !strings.Contains(why, "2028-03-15") {
			t.Errorf("%s: %q", m, why)
		}
		if !private.Suffices(proof, by, dnsName(t, "example.com"), ends) {
			t.Errorf("%s in private mode", m)
		}
		want := proof.At.Add(100 * day)
		if mail {
			want = ends
		}
		if got := public.DomainProofUntil(m, proof.At, proof.At); !got.Equal(want) {
			t.Errorf("%s is usable until %s", m, got)
		}
		if got := private.DomainProofUntil(m, proof.At, proof.At); !got.Equal(proof.At.Add(90 * day)) {
			t.Errorf("%s is usable until %s in private mode", m, got)
		}
	}
	// The row that ends mail changes no validity, so nobody is told of a shorter one.
	if next, ok := shorterAfter(date(2027, 4, 1)); !ok || !next.from.Equal(date(2029, 3, 15)) {
		t.Errorf("%+v, %v", next, ok)
	}
}
