package storage

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// schema is the version of the records this program writes. It stands in the first octet of every record and, as the
// newest ever written, in the store's marker.
const schema = 1

// encoding is deterministic CBOR (RFC 8949, 4.2.1) with integer keys, so that equal facts are equal bytes.
var encoding = must(cbor.CoreDetEncOptions().EncMode())

// decoding refuses duplicate keys and anything deeper or longer than our own records are. Unknown integer keys pass: they
// are what a newer schema added.
var decoding = must(cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 4096, MaxMapPairs: 256,
	IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options are constants: this is a programming error found by the first test that runs
	}
	return v
}

// encode makes a record's bytes.
func encode(v any) ([]byte, error) {
	body, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return append([]byte{schema}, body...), nil
}

// decode reads a record of this or any newer schema.
func decode(b []byte, v any) error {
	if len(b) == 0 || b[0] == 0 {
		return fmt.Errorf("decoding %T: no schema octet", v)
	}
	if err := decoding.Unmarshal(b[1:], v); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	return nil
}

// seconds is a time as records keep it: Unix seconds, 0 for the zero time.
type seconds int64

func toSeconds(t time.Time) seconds {
	if t.IsZero() {
		return 0
	}
	return seconds(t.Unix())
}

func (s seconds) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// millis is a time to the millisecond, for what leases compare.
type millis int64

func toMillis(t time.Time) millis {
	if t.IsZero() {
		return 0
	}
	return millis(t.UnixMilli())
}

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// name is an identifier as records keep it: the value, with IP addresses told apart by their type's first letter.
type name string

func toName(id identifier.Identifier) name {
	switch id.Type() {
	case identifier.IP:
		return name("i" + id.Value())
	case identifier.DNS:
		return name("d" + id.Value())
	default:
		return ""
	}
}

func (n name) identifier() (identifier.Identifier, error) {
	if n == "" {
		return identifier.Identifier{}, fmt.Errorf("an empty name in a record")
	}
	switch n[0] {
	case 'd':
		return identifier.ParseDNS(string(n[1:]))
	case 'i':
		addr, err := netip.ParseAddr(string(n[1:]))
		if err != nil {
			return identifier.Identifier{}, err
		}
		return identifier.FromAddr(addr), nil
	default:
		return identifier.Identifier{}, fmt.Errorf("an unknown kind of name in a record: %q", string(n[:1]))
	}
}

func toNames(ids []identifier.Identifier) []name {
	out := make([]name, len(ids))
	for i, id := range ids {
		out[i] = toName(id)
	}
	return out
}

func fromNames(names []name) ([]identifier.Identifier, error) {
	out := make([]identifier.Identifier, len(names))
	for i, n := range names {
		id, err := n.identifier()
		if err != nil {
			return nil, err
		}
		out[i] = id
	}
	return out, nil
}
