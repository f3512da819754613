package ra

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

// TestDistinguishedName: a name is written as pkix writes it, and of one that has thousands of attributes the first.
func TestDistinguishedName(t *testing.T) {
	t.Parallel()
	written := pkix.Name{
		Country: []string{"NL"}, Organization: []string{"Example B.V."}, OrganizationalUnit: []string{"A", "B"}, CommonName: "Issuing, 1",
		ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: "x"}},
	}
	read := func(list pkix.RDNSequence) (name pkix.Name) {
		name.FillFromRDNSequence(&list)
		return name
	}
	name := read(written.ToRDNSequence())
	if got := DistinguishedName(name); got != name.String() || !strings.Contains(got, `CN=Issuing\, 1`) {
		t.Errorf("%s is not %s", got, name)
	}
	list := written.ToRDNSequence()
	for range 5000 {
		list = append(list, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: ""}})
	}
	if got := DistinguishedName(read(list)); strings.Count(got, "=") != maxNameAttributes || !strings.Contains(got, `CN=Issuing\, 1`) {
		t.Errorf("of many attributes there are %d: %s", strings.Count(got, "="), got)
	}
}
