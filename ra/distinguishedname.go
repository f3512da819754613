package ra

import "crypto/x509/pkix"

// maxNameAttributes is how many attributes of a distinguished name are written out. Others have a dozen at most.
const maxNameAttributes = 64

// DistinguishedName is a distinguished name as text (RFC 4514), as [pkix.Name.String] has it, but of one with more than 64 attributes the
// first of them alone: what pkix does grows with the square of their number, and a certificate from elsewhere has room for
// thousands, which would take seconds each time that it is shown.
func DistinguishedName(name pkix.Name) string {
	if len(name.Names) > maxNameAttributes {
		var short pkix.RDNSequence
		for _, attribute := range name.Names[:maxNameAttributes] {
			short = append(short, pkix.RelativeDistinguishedNameSET{attribute})
		}
		name = pkix.Name{}
		name.FillFromRDNSequence(&short)
	}
	return name.String()
}
