package bundle

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// adder writes one ASN.1 value, so that a structure is written as it is read.
type adder = cryptobyte.BuilderContinuation

func built(value adder) ([]byte, error) {
	var b cryptobyte.Builder
	value(&b)
	return b.Bytes()
}

func constructed(tag cbasn1.Tag, members []adder) adder {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			for _, member := range members {
				member(b)
			}
		})
	}
}

func sequence(members ...adder) adder { return constructed(cbasn1.SEQUENCE, members) }

// set leaves its members in the order given.
func set(members ...adder) adder { return constructed(cbasn1.SET, members) }

// context0 is [0] around its members: EXPLICIT around one, IMPLICIT in place of a SET OF.
func context0(members ...adder) adder {
	return constructed(cbasn1.Tag(0).ContextSpecific().Constructed(), members)
}

func oid(id asn1.ObjectIdentifier) adder {
	return func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) }
}

func number(n uint64) adder { return func(b *cryptobyte.Builder) { b.AddASN1Uint64(n) } }

func octets(value []byte) adder { return func(b *cryptobyte.Builder) { b.AddASN1OctetString(value) } }

func null(b *cryptobyte.Builder) { b.AddASN1NULL() }

// primitive writes value under a tag of its own.
func primitive(tag cbasn1.Tag, value []byte) adder {
	return func(b *cryptobyte.Builder) { b.AddASN1(tag, raw(value)) }
}

// raw writes what is encoded already.
func raw(der []byte) adder { return func(b *cryptobyte.Builder) { b.AddBytes(der) } }

// contentInfo is that of RFC 5652, 3.
func contentInfo(contentType asn1.ObjectIdentifier, content adder) adder {
	return sequence(oid(contentType), context0(content))
}
