package bundle

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Read finds the certificates in a file as other programs write it, in their order: PEM with certificates and PKCS #7, text
// between the blocks and blocks of other kinds passed over (RFC 7468, 2); one or more certificates in DER; certs-only PKCS #7
// in DER; DER in base64 without markers. The result is DER, except that of a PEM block it is what that holds. It is not parsed any further and verified by nobody: the members of
// a PKCS #7 and PEM blocks may hold anything; PEM blocks that are empty or no base64 are passed over. The slices may share memory with data.
//
// A file without a certificate is a [problem.Malformed] that says what was found instead. Private keys in it are neither read nor
// named.
func Read(data []byte) ([][]byte, error) {
	if block, _ := pem.Decode(data); block != nil {
		return readPEM(data)
	}
	switch text := bytes.TrimSpace(data); {
	case len(text) == 0:
		return nil, problem.New(problem.Malformed, "it is empty")
	case data[0] == sequenceTag:
		return readDER(data)
	default:
		der, err := base64.StdEncoding.DecodeString(string(text)) // line ends inside are passed over
		if err == nil && len(der) > 0 && der[0] == sequenceTag {
			return readDER(der)
		}
	}
	return nil, problem.New(problem.Malformed, "it is neither PEM nor DER; send an X.509 certificate, or a PKCS #7 bundle of some")
}

// sequenceTag begins every certificate and every PKCS #7. Base64 of such a value begins with another octet.
const sequenceTag = 0x30

func readPEM(data []byte) (certs [][]byte, err error) {
	other := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case labelCertificate, "X509 CERTIFICATE", "TRUSTED CERTIFICATE": // RFC 7468, 5.3 has those as older labels
			if der := firstElement(block.Bytes); len(der) > 0 { // OpenSSL puts more behind a trusted one
				certs = append(certs, der)
			}
		case labelPKCS7, "CMS": // RFC 7468, 9
			found, err := readPKCS7(block.Bytes)
			if err != nil {
				return nil, err
			}
			certs = append(certs, found...)
		default:
			other = block.Type
		}
	}
	switch {
	case len(certs) > 0:
		return certs, nil
	case other != "":
		return nil, problem.New(problem.Malformed, "it holds PEM of another kind and no certificate")
	default:
		return nil, problem.New(problem.Malformed, "it holds PEM without a certificate")
	}
}

// firstElement is the first DER value of some octets; all of them if they are none, which is for whoever parses them to say: of many
// certificates one is bad, and not the file.
func firstElement(der []byte) []byte {
	in := cryptobyte.String(der)
	var first cryptobyte.String
	if !in.ReadASN1Element(&first, cbasn1.SEQUENCE) {
		return der
	}
	return first
}

// readDER reads certificates one after the other, or a PKCS #7. The latter begins with its type where a certificate has
// another SEQUENCE.
func readDER(der []byte) (certs [][]byte, err error) {
	in := cryptobyte.String(der)
	for !in.Empty() {
		var one, inside cryptobyte.String
		if !in.ReadASN1Element(&one, cbasn1.SEQUENCE) {
			if len(certs) > 0 {
				return nil, problem.New(problem.Malformed, "behind certificate %d there is something that is none", len(certs))
			}
			return nil, problem.New(problem.Malformed, "it is no DER: its length is not what it says, or is indefinite (BER); convert it with openssl")
		}
		whole := one
		if whole.ReadASN1(&inside, cbasn1.SEQUENCE) && inside.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER) {
			found, err := readPKCS7(one)
			if err != nil {
				return nil, err
			}
			certs = append(certs, found...)
			continue
		}
		certs = append(certs, one)
	}
	return certs, nil
}

// readPKCS7 takes the certificates out of SignedData (RFC 5652, 5.1), whoever signed it. Attribute certificates are passed
// over.
func readPKCS7(der []byte) (certs [][]byte, err error) {
	malformed := problem.New(problem.Malformed, "the PKCS #7 cannot be read; send certs-only SignedData in DER, as openssl crl2pkcs7 -nocrl writes it")
	in := cryptobyte.String(der)
	var info, content, signed, set cryptobyte.String
	var kind asn1.ObjectIdentifier
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !in.Empty() || !info.ReadASN1ObjectIdentifier(&kind) {
		return nil, malformed
	}
	if !kind.Equal(oidSignedData) {
		return nil, problem.New(problem.Malformed, "the PKCS #7 is of another kind than SignedData and holds no certificates to read")
	}
	if !info.ReadASN1(&content, cbasn1.Tag(0).ContextSpecific().Constructed()) || !content.ReadASN1(&signed, cbasn1.SEQUENCE) {
		return nil, malformed
	}
	if !signed.SkipASN1(cbasn1.INTEGER) || !signed.SkipASN1(cbasn1.SET) || !signed.SkipASN1(cbasn1.SEQUENCE) {
		return nil, malformed
	}
	var present bool
	if !signed.ReadOptionalASN1(&set, &present, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return nil, malformed
	}
	for !set.Empty() {
		var member cryptobyte.String
		var tag cbasn1.Tag
		if !set.ReadAnyASN1Element(&member, &tag) {
			return nil, malformed
		}
		if tag == cbasn1.SEQUENCE {
			certs = append(certs, member)
		}
	}
	if len(certs) == 0 {
		return nil, problem.New(problem.Malformed, "the PKCS #7 holds no certificate")
	}
	return certs, nil
}
