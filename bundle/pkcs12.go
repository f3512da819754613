package bundle

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"slices"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidEncryptedData   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}         // RFC 5652, 8
	oidShroudedKeyBag  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2} // RFC 7292, 4.2.2
	oidCertBag         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3} // RFC 7292, 4.2.3
	oidX509Certificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}     // RFC 7292, 4.2.3
	oidFriendlyName    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}        // RFC 2985, 5.5.1
	oidLocalKeyID      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}        // RFC 2985, 5.5.2
	oidSHA256          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}     // RFC 5754, 2.2
)

// pkcs12 writes a PFX in password privacy and integrity mode (RFC 7292, 4) in the shape that readers know from openssl: first the
// certificates, encrypted, the leaf first; then the key, encrypted, in contents that are not. Name and key identifier tie the two together.
//
// The MAC is HMAC-SHA-256 with the key derivation of RFC 7292, B.2, because PBMAC1 (RFC 9579) is read by few yet.
func (e entry) pkcs12() ([]byte, error) {
	der, err := e.pfx()
	if err != nil {
		return nil, fmt.Errorf("bundle: PKCS #12: %w", err)
	}
	return der, nil
}

func (e entry) pfx() ([]byte, error) {
	attributes, err := e.attributes()
	if err != nil {
		return nil, err
	}
	certs, err := e.certContents(attributes)
	if err != nil {
		return nil, err
	}
	key, err := e.keyContents(attributes)
	if err != nil {
		return nil, err
	}
	safe, err := built(sequence(certs, key))
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return built(sequence(
		number(3), // RFC 7292, 4
		contentInfo(oidData, octets(safe)),
		sequence( // MacData
			sequence(
				sequence(oid(oidSHA256), null),
				octets(e.mac(safe, salt)),
			),
			octets(salt),
			number(iterations),
		),
	))
}

// certContents is EncryptedData with a bag for each certificate (RFC 7292, 5.1); only the first one has the attributes.
func (e entry) certContents(attributes []byte) (adder, error) {
	var bags []adder
	for i, cert := range e.certs {
		value := sequence(oid(oidX509Certificate), context0(octets(cert.Raw)))
		if i == 0 {
			bags = append(bags, sequence(oid(oidCertBag), context0(value), raw(attributes)))
		} else {
			bags = append(bags, sequence(oid(oidCertBag), context0(value)))
		}
	}
	plain, err := built(sequence(bags...))
	if err != nil {
		return nil, err
	}
	enc, err := encrypt(plain, e.password)
	if err != nil {
		return nil, err
	}
	return contentInfo(oidEncryptedData, sequence(
		number(0), // RFC 5652, 8: no unprotected attributes
		sequence(oid(oidData), enc.algorithm(), primitive(cbasn1.Tag(0).ContextSpecific(), enc.ciphertext)),
	)), nil
}

// keyContents is Data with the one bag of the key.
func (e entry) keyContents(attributes []byte) (adder, error) {
	key, err := encryptedKeyInfo(e.key, e.password)
	if err != nil {
		return nil, err
	}
	bags, err := built(sequence(sequence(oid(oidShroudedKeyBag), context0(raw(key)), raw(attributes))))
	if err != nil {
		return nil, err
	}
	return contentInfo(oidData, octets(bags)), nil
}

// attributes are the name of the entry and what ties the key to its certificate, for which readers expect the certificate's
// SHA-1 fingerprint; nothing depends on its strength. They are a SET OF, sorted as DER has it (X.690, 11.6).
func (e entry) attributes() ([]byte, error) {
	id := sha1.Sum(e.certs[0].Raw)
	name, err := built(sequence(oid(oidFriendlyName), set(primitive(cbasn1.Tag(asn1.TagBMPString), bmpString(e.name)))))
	if err != nil {
		return nil, err
	}
	keyID, err := built(sequence(oid(oidLocalKeyID), set(octets(id[:]))))
	if err != nil {
		return nil, err
	}
	members := [][]byte{name, keyID}
	slices.SortFunc(members, bytes.Compare)
	return built(set(raw(slices.Concat(members...))))
}

// mac authenticates the contents (RFC 7292, 4 and B.2).
func (e entry) mac(contents, salt []byte) []byte {
	key := macKey(e.password, salt)
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(contents)
	return h.Sum(nil)
}

// macKey derives the key of the MAC from a password in UTF-8 (RFC 7292, B.2 and B.3, purpose 3). The key is as long as the hash, so
// the first round of the derivation is all of it. The password counts as a BMPString with its end mark (B.1), the empty one as well.
func macKey(password, salt []byte) []byte {
	const purpose, block = 3, 64 // ID, and v of SHA-256
	text := append(bmpString(password), 0, 0)
	defer clear(text)
	filled := fill(text, block)
	defer clear(filled)
	in := slices.Concat(bytes.Repeat([]byte{purpose}, block), fill(salt, block), filled)
	defer clear(in)
	sum := sha256.Sum256(in)
	for range iterations - 1 {
		sum = sha256.Sum256(sum[:])
	}
	return sum[:]
}

// fill repeats text until it is a whole number of blocks, the last repetition cut (RFC 7292, B.2, steps 2 and 3).
func fill(text []byte, block int) []byte {
	size := (len(text) + block - 1) / block * block
	out := make([]byte, 0, size)
	for len(out) < size {
		out = append(out, text[:min(len(text), size-len(out))]...)
	}
	return out
}
