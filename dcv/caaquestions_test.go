package dcv

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestCAAHugeSets(t *testing.T) {
	fill := func(w *world, n int) {
		for i := range n {
			if err := w.dns.Add(fmt.Sprintf(`example.net. 60 IN CAA 0 issue "ca%d.elsewhere.net"`, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("over TCP, the last record counts", func(t *testing.T) {
		w := caaWorld(t)
		fill(w, 200)
		if _, err := w.caa("example.net"); !problem.Is(err, problem.CAA) || !strings.Contains(err.Error(), "and 196 more") {
			t.Error(err)
		}
		if err := w.dns.Add(`example.net. 60 IN CAA 0 issue "ca.example.com"`); err != nil {
			t.Fatal(err)
		}
		if _, err := w.caa("example.net"); err != nil {
			t.Error(err)
		}
		if err := w.dns.Add(`example.net. 60 IN CAA 128 tbs "x"`); err != nil {
			t.Fatal(err)
		}
		if _, err := w.caa("example.net"); !problem.Is(err, problem.CAA) {
			t.Error(err)
		}
	})
	t.Run("more than is read is no answer", func(t *testing.T) {
		w := caaWorld(t, `example.net. 60 IN CAA 0 issue "ca.example.com"`)
		fill(w, maxRecords)
		if _, err := w.caa("example.net"); !problem.Is(err, problem.CAA) || !strings.Contains(err.Error(), resultOversized) {
			t.Error(err)
		}
	})
}

// Of an order with one forbidden name every place is found, and each name gets its own verdict.
func TestCAAOfEveryName(t *testing.T) {
	const names = 12
	w := caaWorld(t, `example.net. 60 IN CAA 0 issue "ca.example.com"`)
	for k := range names {
		forbidden := fmt.Sprintf("n%d.example.net", k)
		if err := w.dns.Add(forbidden + `. 60 IN CAA 0 issue ";"`); err != nil {
			t.Fatal(err)
		}
		var ask []string
		for i := range names {
			ask = append(ask, fmt.Sprintf("n%d.example.net", i))
		}
		_, err := w.caa(ask...)
		if p := problem.From(err); p == nil || p.Kind != problem.CAA || len(p.Parts) != 1 || p.Parts[0].Identifier.Value() != forbidden {
			t.Errorf("forbidden at %d: %v", k, err)
		}
		w.dns.Remove(forbidden)
		if found, err := w.caa(ask...); err != nil || len(found) != names || !slices.IsSortedFunc(found, func(a, b CAA) int {
			return slices.Index(ask, a.Identifier.Value()) - slices.Index(ask, b.Identifier.Value())
		}) {
			t.Errorf("permitted: %+v, %v", found, err)
		}
	}
	if err := w.dns.Add(`n1.example.net. 60 IN CAA 0 issue ";"`); err != nil {
		t.Fatal(err)
	}
	w.dns.Break("n3.example.net", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSServFail})
	_, err := w.caa("n0.example.net", "n1.example.net", "n2.example.net", "n3.example.net")
	p := problem.From(err)
	if p == nil || len(p.Parts) != 2 || p.RetryAfter != 0 || !strings.Contains(p.Detail, "2 of the 4 names") {
		t.Errorf("%+v", p)
	}
}

func TestCAAQuestions(t *testing.T) {
	t.Run("each name once", func(t *testing.T) {
		w := caaWorld(t)
		if _, err := w.caa("a.example.net", "b.example.net", "*.example.net", "example.net"); err != nil {
			t.Fatal(err)
		}
		var asked []string
		for _, q := range w.dns.Queries() {
			if q.Type != dns.TypeCAA {
				t.Errorf("question %+v", q)
			}
			asked = append(asked, q.Name)
		}
		slices.Sort(asked)
		if want := []string{"a.example.net.", "b.example.net.", "example.net.", "net."}; !slices.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		if _, err := w.caa("a.example.net"); err != nil || len(w.dns.Queries()) != 7 {
			t.Errorf("%d questions: answers must not be kept beyond a call; %v", len(w.dns.Queries()), err)
		}
	})
	t.Run("labels", func(t *testing.T) {
		w := caaWorld(t)
		if _, err := w.caa(strings.Repeat("a.", maxCAALevels-1) + "net"); err != nil {
			t.Error(err)
		}
		if _, err := w.caa(strings.Repeat("a.", maxCAALevels) + "net"); !problem.Is(err, problem.CAA) {
			t.Error(err)
		}
	})
	t.Run("of one call", func(t *testing.T) {
		w := caaWorld(t)
		var ask []string
		for i := range 50 {
			ask = append(ask, fmt.Sprintf("%s%d.example", strings.Repeat(fmt.Sprintf("n%d.", i), 25), i))
		}
		if _, err := w.caa(ask...); !problem.Is(err, problem.CAA) || !strings.Contains(problem.From(err).Detail, "CAA") {
			t.Error(err)
		}
		if n := len(w.dns.Queries()); n > maxCAAQuestions {
			t.Errorf("%d questions", n)
		}
	})
}

func TestCAAOfAddresses(t *testing.T) {
	w := caaWorld(t)
	id, err := identifier.ParseIP("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.v.CheckCAA(t.Context(), CAARequest{Names: []CAAName{{Identifier: id, Methods: []Method{HTTP01}}}})
	if err != nil || len(found) != 1 || found[0].Identifier != id || len(w.dns.Queries()) != 0 {
		t.Errorf("%+v, %v, %d questions", found, err, len(w.dns.Queries()))
	}
}

// No account, and no way to be called: nobody passes by accident.
func TestCAANobody(t *testing.T) {
	w := caaWorld(t, `example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=`+ownAccount+`"`)
	name := CAAName{Identifier: mustDNS(t, "example.net"), Methods: []Method{HTTP01}}
	if _, err := w.v.CheckCAA(t.Context(), CAARequest{Names: []CAAName{name}}); !problem.Is(err, problem.CAA) {
		t.Error(err)
	}
	nameless := newWorld(t)
	if _, err := nameless.v.CheckCAA(t.Context(), CAARequest{Names: []CAAName{name}}); !problem.Is(err, problem.Internal) {
		t.Error(err)
	}
	req := requestFor(t, testName)
	req.CAA = &CAAFor{Identifier: req.Identifier}
	nameless.failsAs(t.Context(), req, problem.Internal)
	req.CAA.Identifier = mustDNS(t, "example.net")
	w.failsAs(t.Context(), req, problem.Malformed)
	for _, bad := range []string{"", "ca..example.com", "-ca.example.com", "ca.example.com.", "https://ca.example.com", "ca example"} {
		if err := checkIdentities([]string{bad}); err == nil {
			t.Errorf("identity %q accepted", bad)
		}
	}
}
