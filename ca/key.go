package ca

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// OpenKey opens the one signing key that uri names, for a program that needs no other. The forms are those of
// [Keys.Open]. The closer ends what was opened; the key cannot sign after.
func OpenKey(uri string) (crypto.Signer, io.Closer, error) {
	k := new(Keys)
	signer, err := k.Open(uri)
	if err != nil {
		return nil, nil, errors.Join(err, k.Close())
	}
	return signer, k, nil
}

// Keys opens signing keys and holds what they share: a PKCS#11 module belongs to a whole process, and keys on one token
// share its login. A process that has several keys open must open them through one Keys. The zero value is ready; it is
// safe for concurrent use.
type Keys struct {
	mu     sync.Mutex
	tokens map[tokenID]*token
}

// tokenID tells tokens apart: the module, the token in it, and whence its PIN comes.
type tokenID struct{ module, token, pinSource string }

// Open opens a signing key. uri is one of:
//
//   - a path, or a "file:" URI (RFC 8089): a PEM file as [LoadKey] reads it;
//   - a "pkcs11:" URI (RFC 7512) of a key pair on a token: token, serial or slot-id names the token, object and id the
//     key, module-path the module (without it, p11-kit's proxy is used). pin-source says where the PIN is: a path or "file:"
//     URI of a file that only its owner may read, or "env:NAME". A PIN in the URI itself is refused.
//
// RSA and EC keys on tokens can be used; their signatures are made by the token. An error is one line that says what to
// change, and holds no secret. If the module does not answer within a minute, that is an error too. After any error the
// module's other keys may be unusable, so a program should end.
func (k *Keys) Open(uri string) (crypto.Signer, error) {
	switch scheme(uri) {
	case "":
		return signerOrError(LoadKey(uri))
	case "file":
		path, err := filePath(uri)
		if err != nil {
			return nil, err
		}
		return signerOrError(LoadKey(path))
	case "pkcs11":
		return k.openOnToken(uri)
	}
	return nil, fmt.Errorf("a key cannot be a %q URI; name a PEM file by its path, or a key on a token by a pkcs11: URI (RFC 7512)", scheme(uri))
}

// signerOrError keeps a nil signer nil.
func signerOrError(s crypto.Signer, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (k *Keys) openOnToken(uri string) (crypto.Signer, error) {
	u, err := parseKeyURI(uri)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t, err := k.tokenFor(u)
	if err != nil {
		return nil, err
	}
	return t.find(u.key(), u.keyName())
}

// tokenFor finds the token of a key among those that are open, or opens it. k.mu is held.
func (k *Keys) tokenFor(u *keyURI) (*token, error) {
	id := tokenID{module: u.modulePath, token: u.token(), pinSource: u.pinSource}
	if t := k.tokens[id]; t != nil {
		return t, nil
	}
	t := &token{
		name: u.tokenName(), connect: func() (keyModule, error) { return openModule(u) }, alone: func() bool { return k.soleUser(id) },
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	if k.tokens == nil {
		k.tokens = map[tokenID]*token{}
	}
	k.tokens[id] = t
	return t, nil
}

// soleUser reports whether a token is the only one that is open of its module.
func (k *Keys) soleUser(id tokenID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for other := range k.tokens {
		if other != id && other.module == id.module {
			return false
		}
	}
	return true
}

// Close closes every token. It waits only a few seconds for a module, and not at all for signatures under way: what does
// not end is reported, and left to the end of the process.
func (k *Keys) Close() error {
	k.mu.Lock()
	tokens := k.tokens
	k.tokens = nil
	k.mu.Unlock()
	var errs []error
	for _, t := range tokens {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

var schemeForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`)

// scheme is a URI's scheme in lower case (RFC 3986, 3.1), empty if s is a path.
func scheme(s string) string {
	m := schemeForm.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}

// filePath is the path of a "file:" URI on this machine (RFC 8089, 2), absolute or relative.
func filePath(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	if u.Host != "" && u.Host != "localhost" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", fmt.Errorf("%s: a file: URI of a file on this machine has nothing but a path; write file:/path/to/file", uri)
	}
	relative, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return "", err
	}
	path := cmp.Or(u.Path, relative)
	if path == "" {
		return "", fmt.Errorf("%s: the path is missing; write file:/path/to/file", uri)
	}
	return path, nil
}
