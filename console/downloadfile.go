package console

import (
	"crypto/subtle"
	"encoding/pem"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// The words of ra.Offer.Content.
const (
	contentLeaf  = "leaf"
	contentChain = "chain"
)

// ParseOffer reads what a download is to be: one of the formats of package bundle that hold a key, PKCS #12 by default, and beside
// the key the certificate ("leaf") or that and its issuers ("chain", the default where the format holds certificates). A format
// that is not encrypted is taken only if inClear says so. Errors are Malformed.
func ParseOffer(format, content string, inClear bool) (ra.Offer, error) {
	if format == "" {
		format = bundle.PKCS12.String()
	}
	f, err := bundle.ParseFormat(format)
	switch {
	case err != nil:
		return ra.Offer{}, err
	case !f.NeedsKey():
		return ra.Offer{}, problem.New(problem.Malformed, "format: %s holds no private key; choose pkcs12, jks, encrypted-key or pem-encrypted-key", f)
	case !f.NeedsPassword() && !inClear:
		return ra.Offer{}, problem.New(problem.Malformed, "format: %s is not encrypted; choose pkcs12, jks, encrypted-key or pem-encrypted-key, or say that the key may be in clear", f)
	case f.NeedsPassword() && inClear:
		return ra.Offer{}, problem.New(problem.Malformed, "clear: %s is encrypted; leave it out, or choose key or pem-key", f)
	}
	alone := f == bundle.Key || f == bundle.EncryptedKey
	switch {
	case alone && content != "":
		return ra.Offer{}, problem.New(problem.Malformed, "content: %s holds no certificates; leave it out", f)
	case !alone && content == "":
		content = contentChain
	case !alone && content != contentLeaf && content != contentChain:
		return ra.Offer{}, problem.New(problem.Malformed, "content: it is none of leaf and chain")
	}
	return ra.Offer{Format: f.String(), Content: content, Clear: inClear}, nil
}

// Write makes the file of an offer: chain is the PEM that follows the certificate, password what the file is encrypted under,
// if its format is and none was chosen when the link was made; then there must be none here, or the same. Errors about the password are
// Malformed, such as the chain cannot meet are Conflict.
func Write(f ra.KeyFile, chain []byte, password string) ([]byte, error) {
	format, err := bundle.ParseFormat(f.Format)
	if err != nil {
		return nil, err
	}
	if f.Password != "" {
		if password != "" && subtle.ConstantTimeCompare([]byte(password), []byte(f.Password)) != 1 {
			return nil, problem.New(problem.Malformed, "password: the one of this file was chosen when the link was made; send none")
		}
		password = f.Password
	}
	if format.NeedsPassword() { // at once: a derivation costs tens of milliseconds
		if err := bundle.CheckPassword(format, []byte(password)); err != nil {
			return nil, err
		}
	}
	var issuers [][]byte
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		issuers = append(issuers, block.Bytes)
	}
	c, err := bundle.NewChain(f.Certificate, issuers)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "")
	}
	o := bundle.Options{Key: f.Key, Password: []byte(password)}
	switch f.Content {
	case contentLeaf:
		o.Content = bundle.Leaf
	case contentChain:
		o.Content = bundle.FullChain
	}
	return c.Encode(format, o)
}
