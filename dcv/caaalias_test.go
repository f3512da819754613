package dcv

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// CAA climbs from the name and never from an alias's target, whatever level the alias is at (RFC 8659, 3), and each level
// must be answered; that there is no SOA in an answer is no fault of it (RFC 2308, 2.2: type 3).
func TestCAAAliasAtEveryLevel(t *testing.T) {
	levels := []string{"a.b.example.net", "b.example.net", "example.net", "net"}
	for _, state := range []testca.ZoneState{testca.ZoneSigned, testca.ZoneInsecure} {
		for i, at := range levels {
			w := caaWorld(t)
			w.sign(state)
			w.zone(".", state)
			if err := w.dns.Add(at+". 60 IN CNAME x.elsewhere.org.", `elsewhere.org. 60 IN CAA 0 issue ";"`); err != nil {
				t.Fatal(err)
			}
			w.dns.SetAddrs("x.elsewhere.org")
			w.dns.Break("", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSBare})
			if _, err := w.caa(levels[0]); err != nil {
				t.Errorf("alias at %s: the target's parent was asked: %v", at, err)
			}
			var asked []string
			for _, q := range w.dns.Queries() {
				asked = append(asked, strings.TrimSuffix(q.Name, "."))
			}
			if !slices.Equal(asked, levels) {
				t.Errorf("alias at %s: asked %v", at, asked)
			}
			if err := w.dns.Add(`x.elsewhere.org. 60 IN CAA 0 issue ";"`); err != nil {
				t.Fatal(err)
			}
			if _, err := w.caa(levels[0]); !problem.Is(err, problem.CAA) || !strings.Contains(err.Error(), at+" (an alias of x.elsewhere.org)") {
				t.Errorf("alias at %s, level %d: %v", at, i, err)
			}
		}
	}
}
