package bundle

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Format is a form in which a chain, its key or both leave the gateway. The zero value is none and refused.
type Format uint8

// The formats. Those with a key are encrypted under a password unless their comment says that they are not.
const (
	PEM             Format = iota + 1 // certificates in PEM (RFC 7468, 5; RFC 8555, 9.1)
	DER                               // one certificate in DER
	Base64                            // one certificate in DER, in base64 on one line, without markers and line end
	PKCS7                             // certs-only SignedData in DER (RFC 5652, 5.1; RFC 8551, 3.7)
	PKCS7PEM                          // the same in PEM, label PKCS7 (RFC 7468, 8)
	PKCS12                            // key and certificates (RFC 7292), AES-256
	JKS                               // key and certificates as a Java keystore; its encryption is weak, and it has no other
	Key                               // the key in clear: PKCS #8 in PEM (RFC 5958; RFC 7468, 10)
	EncryptedKey                      // the key as encrypted PKCS #8 in PEM (RFC 7468, 11), AES-256
	PEMKey                            // what PEM has, followed by what Key has, in clear
	PEMEncryptedKey                   // what PEM has, followed by what EncryptedKey has
	formatCount
)

// holding says how many certificates a format can hold.
type holding uint8

const (
	none holding = iota // the key alone
	one
	many
)

// traits are a format's row in the table.
type traits struct {
	name, media, extension string
	certs                  holding
	key, password          bool
	text                   bool // lines, whose ends may be chosen
	named                  bool // can give its entry a name
}

// RFC 2585, 4.1 has the media type of one certificate, RFC 8555, 9.1 of chains, RFC 8551, 3.2.1 of certs-only messages. PEM with
// anything else in it, and keystores, have none that is registered; these are in use.
var formatTable = [formatCount]traits{
	PEM:             {name: "pem", media: "application/pem-certificate-chain", extension: "pem", certs: many, text: true},
	DER:             {name: "der", media: "application/pkix-cert", extension: "cer", certs: one},
	Base64:          {name: "base64", media: "text/plain; charset=us-ascii", extension: "txt", certs: one},
	PKCS7:           {name: "pkcs7", media: "application/pkcs7-mime; smime-type=certs-only", extension: "p7b", certs: many},
	PKCS7PEM:        {name: "pkcs7-pem", media: "application/x-pem-file", extension: "p7b", certs: many, text: true},
	PKCS12:          {name: "pkcs12", media: "application/x-pkcs12", extension: "p12", certs: many, key: true, password: true, named: true},
	JKS:             {name: "jks", media: "application/x-java-keystore", extension: "jks", certs: many, key: true, password: true, named: true},
	Key:             {name: "key", media: "application/x-pem-file", extension: "key", key: true, text: true},
	EncryptedKey:    {name: "encrypted-key", media: "application/x-pem-file", extension: "key", key: true, password: true, text: true},
	PEMKey:          {name: "pem-key", media: "application/x-pem-file", extension: "pem", certs: many, key: true, text: true},
	PEMEncryptedKey: {name: "pem-encrypted-key", media: "application/x-pem-file", extension: "pem", certs: many, key: true, password: true, text: true},
}

func (f Format) traits() traits {
	if f >= formatCount {
		return traits{}
	}
	return formatTable[f]
}

// String is the format's name, in lower-case ASCII: what [ParseFormat] reads. An unknown format prints as "none".
func (f Format) String() string {
	if name := f.traits().name; name != "" {
		return name
	}
	return "none"
}

// MediaType is what a door says in Content-Type; "" for an unknown format.
func (f Format) MediaType() string { return f.traits().media }

// Extension is that of a file's name, without the dot; "" for an unknown format.
func (f Format) Extension() string { return f.traits().extension }

// NeedsKey reports whether the format holds the private key.
func (f Format) NeedsKey() bool { return f.traits().key }

// NeedsPassword reports whether the format is encrypted under a password.
func (f Format) NeedsPassword() bool { return f.traits().password }

// Formats lists the formats there are.
func Formats() []Format {
	var all []Format
	for f := PEM; f < formatCount; f++ {
		all = append(all, f)
	}
	return all
}

// ParseFormat finds a format by its name. Another name is a [problem.Malformed] that says which there are.
func ParseFormat(name string) (Format, error) {
	var names []string
	for _, f := range Formats() {
		if f.String() == name {
			return f, nil
		}
		names = append(names, f.String())
	}
	return 0, problem.New(problem.Malformed, "format: there is none of that name; choose one of %s", strings.Join(names, ", "))
}
