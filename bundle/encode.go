package bundle

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Content says which certificates of a chain are encoded. Formats that hold the key alone want the zero value.
type Content uint8

const (
	Leaf      Content = iota + 1 // the certificate alone
	FullChain                    // the certificate and its issuers
	Issuers                      // the issuers alone
)

// Order says how the certificates of a PEM or PKCS #7 file follow one another.
type Order uint8

const (
	LeafFirst Order = iota // each certified by the next, as in TLS (RFC 8446, 4.4.2)
	LeafLast               // the root or what is nearest to it first
)

// LineEnding ends the lines of the formats that have lines, the last one as well.
type LineEnding uint8

const (
	LF LineEnding = iota
	CRLF
)

// Options say what of a chain is encoded, and how. What a format has no use for must be zero.
type Options struct {
	Content    Content    // required where the format holds certificates
	Order      Order      // PEM, PKCS7 and PKCS7PEM; the others with many certificates begin with the leaf
	OmitRoot   bool       // leave a self-signed root out, where the chain has one
	LineEnding LineEnding // of text

	Key crypto.PrivateKey // *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey, that of the leaf

	// Password is UTF-8, by the rules of [CheckPassword]. Encode overwrites it with zeros in every case, so a second call
	// needs it again.
	Password []byte

	// EmptyPassword makes a PKCS12 that opens with the empty password, for a door whose vendor promises such a file; Password must be empty.
	// The key is then as good as in clear.
	EmptyPassword bool

	// Name is how programs show the entry in a PKCS12 (friendlyName) and find it in a JKS (alias, in lower case): at most
	// [MaxName] characters of the Basic Multilingual Plane. By default the certificate's first name, or "certificate".
	Name string
}

// Encode writes the chain in a format. The same chain and options give the same octets, except where a password or a key is
// encrypted, which needs random ones.
//
// Errors that the caller can do something about are a [problem.Error] whose detail begins with the name of what is wrong:
// format, content, order, line ending, password, name or private key. [problem.Conflict] says that the chain or the key cannot give what
// is asked, which the same request for another certificate might; everything else about the request is [problem.Malformed].
func (c *Chain) Encode(f Format, o Options) ([]byte, error) {
	defer clear(o.Password)
	if err := o.check(f); err != nil {
		return nil, err
	}
	certs, err := c.choose(f, o)
	if err != nil {
		return nil, err
	}
	e := entry{certs: certs, password: o.Password, name: o.Name}
	if f.NeedsKey() {
		if err := c.CheckKey(o.Key); err != nil {
			return nil, err
		}
		if e.key, err = x509.MarshalPKCS8PrivateKey(o.Key); err != nil {
			return nil, fmt.Errorf("bundle: private key: %w", err)
		}
		defer clear(e.key)
	}
	if e.name == "" {
		e.name = defaultName(c.certs[0])
	}
	return e.encode(f, o.LineEnding)
}

// entry is what an encoder gets: checked, chosen and in order.
type entry struct {
	certs    []*x509.Certificate
	key      []byte // PKCS #8 in DER, in clear; nil without one
	password []byte
	name     string
}

func (e entry) encode(f Format, end LineEnding) ([]byte, error) {
	switch f {
	case PEM:
		return e.pem(end), nil
	case DER:
		return slices.Clone(e.certs[0].Raw), nil
	case Base64:
		return e.base64(), nil
	case PKCS7:
		return e.pkcs7()
	case PKCS7PEM:
		return e.pkcs7PEM(end)
	case PKCS12:
		return e.pkcs12()
	case JKS:
		return e.jks()
	case Key, PEMKey:
		key := e.keyPEM(end)
		defer clear(key)
		return append(e.pem(end), key...), nil
	case EncryptedKey, PEMEncryptedKey:
		key, err := e.encryptedKeyPEM(end)
		return append(e.pem(end), key...), err
	default:
		return nil, errNoFormat
	}
}

var errNoFormat = problem.New(problem.Malformed, "format: none is chosen")

// check holds options to a format, as far as that can be told without the chain.
func (o *Options) check(f Format) error {
	t := f.traits()
	switch {
	case t.name == "":
		return errNoFormat
	case t.certs == none && (o.Content != 0 || o.OmitRoot):
		return problem.New(problem.Malformed, "content: %s holds no certificates; ask for them in a format of their own", f)
	case t.certs != none && (o.Content < Leaf || o.Content > Issuers):
		return problem.New(problem.Malformed, "content: say which certificates: the leaf, the full chain or the issuers")
	case t.certs != none && t.key && o.Content == Issuers:
		return problem.New(problem.Malformed, "content: %s holds the certificate of its key; ask for the leaf or the full chain", f)
	case o.Order > LeafLast:
		return problem.New(problem.Malformed, "order: it is none that there is; ask for leaf first or leaf last")
	case o.Order != LeafFirst && (t.certs != many || t.key):
		return problem.New(problem.Malformed, "order: %s has but one; leave it at leaf first", f)
	case o.LineEnding > CRLF:
		return problem.New(problem.Malformed, "line ending: it is none that there is; ask for LF or CRLF")
	case o.LineEnding != LF && !t.text:
		return problem.New(problem.Malformed, "line ending: %s has no lines; leave it at LF", f)
	case o.Key != nil && !t.key:
		return problem.New(problem.Malformed, "private key: %s holds none; ask for one of the formats that do", f)
	case o.Key == nil && t.key:
		return problem.New(problem.Conflict, "private key: %s needs it, and there is none here; ask for the certificate alone", f)
	}
	if err := o.checkPassword(f); err != nil {
		return err
	}
	return o.checkName(f)
}

// choose picks the certificates.
func (c *Chain) choose(f Format, o Options) ([]*x509.Certificate, error) {
	all := c.certs
	if o.OmitRoot && c.hasRoot {
		all = all[:len(all)-1]
	}
	var certs []*x509.Certificate
	switch o.Content {
	case 0: // the key alone; check has seen to it
		return nil, nil
	case Leaf:
		certs = all[:1]
	case FullChain:
		certs = all
	case Issuers:
		certs = all[1:]
	default:
		return nil, problem.New(problem.Malformed, "content: it is none that there is")
	}
	switch {
	case len(certs) == 0:
		return nil, problem.New(problem.Conflict, "content: the certificate has no issuers that could be given; ask for the leaf")
	case len(certs) > 1 && f.traits().certs == one:
		return nil, problem.New(problem.Conflict, "content: %s holds one certificate, and %d are asked for; ask for the leaf, or choose another format", f, len(certs))
	}
	certs = slices.Clone(certs)
	if o.Order == LeafLast {
		slices.Reverse(certs)
	}
	return certs, nil
}
