package ca

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"go.step.sm/crypto/kms/uri"
)

// keyURI is a pkcs11: URI of one private key (RFC 7512).
type keyURI struct {
	selector   [2]string // the attribute that names the token ("token", "serial" or "slot-id") and its value
	object     string    // CKA_LABEL; may be empty
	id         []byte    // CKA_ID; may be empty
	modulePath string    // empty: p11-kit's proxy module
	pinSource  string    // empty: the token needs no login
	sessions   string    // max-sessions; empty: as many as the token has
}

// Attributes that are understood. All others are refused: RFC 7512, 2.3 makes each attribute a condition, and a
// condition that nobody checks may let another key sign.
var (
	pathAttributes  = []string{"token", "serial", "slot-id", "object", "id", "type", "module-path", "max-sessions"}
	queryAttributes = []string{"pin-source", "module-path", "max-sessions"}
)

// parseKeyURI reads a URI. Errors name the remedy and never show the URI, which may hold a PIN.
func parseKeyURI(s string) (*keyURI, error) {
	fail := func(format string, args ...any) (*keyURI, error) {
		return nil, fmt.Errorf("the pkcs11: URI "+format, args...)
	}
	if strings.Contains(s, "pin-value") {
		return fail("holds the PIN (pin-value), which would be in the configuration in the clear; put it into a file of mode 0600" +
			" and write pin-source=/path/to/file, or write pin-source=env:NAME for an environment variable")
	}
	_, rest, _ := strings.Cut(s, ":")
	path, query, _ := strings.Cut(rest, "?")
	a, err := attributes(path, ";", pathAttributes)
	if err != nil {
		return fail("%w", err)
	}
	q, err := attributes(query, "&", queryAttributes)
	if err != nil {
		return fail("%w", err)
	}
	for name, value := range q {
		// smallstep's tools write module-path and max-sessions into the path, RFC 7512, 2.4 into the query.
		if _, twice := a[name]; twice {
			return fail("has %s twice", name)
		}
		a[name] = value
	}
	u := &keyURI{object: a["object"], id: []byte(a["id"]), modulePath: a["module-path"], pinSource: a["pin-source"], sessions: a["max-sessions"]}
	for _, name := range []string{"token", "serial", "slot-id"} {
		if a[name] == "" {
			continue
		}
		if u.selector[0] != "" {
			return fail("names the token by both %s and %s; keep one", u.selector[0], name)
		}
		u.selector = [2]string{name, a[name]}
	}
	switch {
	case u.selector[0] == "":
		return fail("names no token; add token=LABEL")
	case u.object == "" && len(u.id) == 0:
		return fail("names no key; add object=LABEL or id=%%XX")
	case a["type"] != "" && a["type"] != "private": // RFC 7512, 2.3
		return fail("is of type %s; only a private key can sign", a["type"])
	}
	return u, nil
}

// attributes reads one part of a URI: names and percent-encoded values (RFC 7512, 2.3 and 2.4), each name at most once.
func attributes(part, separator string, known []string) (map[string]string, error) {
	out := map[string]string{}
	if part == "" {
		return out, nil
	}
	for field := range strings.SplitSeq(part, separator) {
		name, encoded, ok := strings.Cut(field, "=")
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("has %q where only %s can stand; leave it out", name, strings.Join(known, ", "))
		}
		if _, twice := out[name]; twice { // RFC 7512, 2.3 and 2.4
			return nil, fmt.Errorf("has %s twice", name)
		}
		value, err := url.PathUnescape(encoded)
		if err != nil {
			return nil, fmt.Errorf("has a %s that is not well percent-encoded", name)
		}
		if !ok || value == "" {
			return nil, fmt.Errorf("has an empty %s", name)
		}
		if name == "id" {
			// RFC 7512, 2.3 wants octets percent-encoded; other tools take bare digits for hexadecimal.
			if !strings.Contains(encoded, "%") {
				return nil, errors.New("has an id that can be read in two ways; write each octet as %XX (pkcs11-tool's ID 0a10 is id=%0a%10)")
			}
		} else if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("has a control character in %s", name)
		}
		out[name] = value
	}
	return out, nil
}

// token is the URI of the token, as go.step.sm/crypto/kms reads it: without the PIN, which is handed over by itself.
func (u *keyURI) token() string {
	v := url.Values{u.selector[0]: {u.selector[1]}}
	if u.modulePath != "" {
		v.Set("module-path", u.modulePath)
	}
	if u.sessions != "" {
		v.Set("max-sessions", u.sessions)
	}
	return uri.New("pkcs11", v).String()
}

// key is the URI of the key on its token, as go.step.sm/crypto/kms reads it.
func (u *keyURI) key() string {
	v := url.Values{}
	if u.object != "" {
		v.Set("object", u.object)
	}
	if len(u.id) > 0 {
		v.Set("id", "0x"+hex.EncodeToString(u.id)) // its parser tells octets from hexadecimal by the prefix
	}
	return uri.New("pkcs11", v).String()
}

// tokenName and keyName are for messages.
func (u *keyURI) tokenName() string { return fmt.Sprintf("token %s=%q", u.selector[0], u.selector[1]) }

func (u *keyURI) keyName() string {
	var out []string
	if u.object != "" {
		out = append(out, fmt.Sprintf("object=%q", u.object))
	}
	if len(u.id) > 0 {
		out = append(out, "id="+hex.EncodeToString(u.id))
	}
	return strings.Join(out, " ")
}

// moduleName is the module's path, for messages.
func (u *keyURI) moduleName() string { return cmp.Or(u.modulePath, "p11-kit-proxy") }

// pin reads the PIN from where pin-source says, each time the token is opened. It is empty without pin-source.
func (u *keyURI) pin() (string, error) {
	if u.pinSource == "" {
		return "", nil
	}
	if name, ok := strings.CutPrefix(u.pinSource, "env:"); ok {
		pin := os.Getenv(name)
		if pin == "" {
			return "", fmt.Errorf("pin-source: the environment variable %s is empty or not set", name)
		}
		return pin, nil
	}
	path := u.pinSource
	switch scheme(path) {
	case "":
	case "file":
		var err error
		if path, err = filePath(path); err != nil {
			return "", fmt.Errorf("pin-source: %w", err)
		}
	default:
		return "", fmt.Errorf("pin-source=%s is neither a path, a file: URI nor env:NAME", u.pinSource)
	}
	if strings.HasPrefix(path, "|") { // RFC 7512, 2.4 lets it name a command
		return "", errors.New("pin-source: commands are not run; name a file or env:NAME")
	}
	data, err := readOwn(path, 0o077, "PIN")
	if err != nil {
		return "", fmt.Errorf("pin-source: %w", err)
	}
	// The line's end is not part of the PIN; blanks may be.
	pin := bytes.TrimRight(data, "\r\n")
	if len(pin) == 0 {
		return "", fmt.Errorf("pin-source: %s is empty", path)
	}
	return string(pin), nil
}
