package bundle

import (
	"encoding/asn1"
	"fmt"
	"slices"
)

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} // RFC 5652, 4
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2} // RFC 5652, 5.1
)

// pkcs7 writes SignedData that nobody signed and that holds certificates (RFC 5652, 5.1 and 5.2; RFC 8551, 3.7): version
// 1, no digest algorithm, content of type data that is absent, the certificates, no signer.
//
// The certificates are a SET OF, whose members DER would sort by their octets. RFC 5652 asks for BER only, and many
// programs take the first for the leaf, so they stay in the order that was asked for; all else is DER.
func (e entry) pkcs7() ([]byte, error) {
	raw := make([][]byte, len(e.certs))
	for i, cert := range e.certs {
		raw[i] = cert.Raw
	}
	return certsOnly(raw)
}

func certsOnly(certs [][]byte) ([]byte, error) {
	der, err := built(contentInfo(oidSignedData, sequence(
		number(1),
		set(), // digestAlgorithms
		sequence(oid(oidData)),
		context0(raw(slices.Concat(certs...))),
		set(), // signerInfos
	)))
	if err != nil {
		return nil, fmt.Errorf("bundle: PKCS #7: %w", err)
	}
	return der, nil
}
