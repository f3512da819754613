package dcv

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestShortened(t *testing.T) {
	three := Lookup{Name: "a.example.com", Aliases: []string{"1", "2", "3"}, Found: make([]netip.Addr, 3)}
	hop := func(url string) Hop {
		return Hop{URL: url, Lookups: []Lookup{three, three, three}, Addresses: make([]Address, 3), Dials: make([]Dial, 3)}
	}
	full := &Record{Advice: "look", Hops: []Hop{hop("1"), hop("2"), hop("3")}, CAA: []CAALookup{{three, []string{"1", "2", "3"}}, {three, nil}}}
	before, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if same := full.Shortened(3); !reflect.DeepEqual(same, full) || same.Omitted != 0 {
		t.Errorf("nothing was too long: %+v", same)
	}
	two := full.Shortened(2)
	if len(two.Hops) != 2 || two.Hops[0].URL != "1" || two.Hops[1].URL != "3" || two.Advice != "look" {
		t.Errorf("%+v", two)
	}
	// One hop; of each of the two that stay a lookup, an address and a dial; of each of six lookups an alias and an
	// address; of CAA one of the records.
	if two.Omitted != 1+2*3+6*2+1 {
		t.Errorf("%d are said to be left out", two.Omitted)
	}
	one := full.Shortened(1)
	if len(one.Hops) != 1 || one.Hops[0].URL != "3" || len(one.Hops[0].Lookups) != 1 || one.Hops[0].Lookups[0].Aliases[0] != "3" || len(one.CAA) != 1 {
		t.Errorf("%+v", one)
	}
	if after, err := json.Marshal(full); err != nil || string(after) != string(before) {
		t.Errorf("the original was changed: %s, %v", after, err)
	}
}

// TestHostileRecord: what a hostile zone and server can put into a record at the most, and what is left of it.
func TestHostileRecord(t *testing.T) {
	w := caaWorld(t)
	label := strings.Repeat(`\255`, 60)
	owner := "www.example.net."
	add := func(format string, args ...any) {
		if err := w.dns.Add(fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxAliases {
		alias := fmt.Sprintf("a%d.%s.%s.%s.example.org.", i, label, label, label)
		add("%s 60 IN CNAME %s", owner, alias)
		owner = alias
	}
	add("%s 60 IN A 127.0.0.1", owner)
	for i := range maxAddresses - 1 {
		add("%s 60 IN A 198.18.0.%d", owner, i)
		add("%s 60 IN AAAA 2001:db8:ffff:ffff:ffff:ffff:ffff:%x", owner, 0x1000+i)
	}
	for i := range 60 {
		add(`example.net. 60 IN CAA 0 issue "%d%s"`, i, strings.Repeat(`\255`, 220))
	}
	w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: maxRedirects})
	req := requestFor(t, "www.example.net")
	req.CAA = &CAAFor{Identifier: req.Identifier}
	rec := w.failsAs(t.Context(), req, problem.CAA)
	size := func(r *Record) int {
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return len(encoded)
	}
	if whole := size(rec); whole < 200_000 {
		t.Errorf("%d bytes are not hostile", whole)
	}
	if least := size(rec.Shortened(1)); least > 8<<10 {
		t.Errorf("%d bytes are left", least)
	}
}
