package acme

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// Paths, in both directions. No other file of this package knows one.

// resource is a kind of URL.
type resource uint8

const (
	resDirectory resource = iota + 1
	resNewNonce
	resNewAccount
	resNewOrder
	resAccount
	resOrders
	resOrder
	resFinalize
	resAuthz
	resChallenge
	resCertificate
	resRevoke
	resNewAuthz
	resKeyChange
	resRenewalInfo
)

var resourceNames = [...]string{
	"unknown", "directory", "new-nonce", "new-account", "new-order", "account", "orders", "order", "finalize", "authz",
	"challenge", "certificate", "revoke-cert", "new-authz", "key-change", "renewal-info",
}

// String is the resource's name in logs and metrics.
func (r resource) String() string { return resourceNames[r] }

// target is what a URL of ours names. Only the fields of its resource are set.
type target struct {
	resource    resource
	org         string // slug, in directory, new-account, new-authz and new-order; empty: the default organisation
	profile     string // in directory, new-authz and new-order; empty: the default profile
	account     AccountID
	order       OrderID
	authz       AuthzID
	position    int // of the challenge in its authorization
	certificate *CertificateID
	chain       int    // of a certificate: 0 the default, 1 the first alternate (RFC 8555, 7.4.2)
	certID      string // in renewal-info, as it was written; empty: the resource itself, in the directory (RFC 9773, 4.1)
	query       string // in orders: which page (parseCursor); empty: the first
}

const (
	prefix         = "/acme/"
	idBytes        = 16 // 128 bits: no two are equal by chance
	maxCursorBytes = 512
)

var idLength = base64.RawURLEncoding.EncodedLen(idBytes)

// accountID is the id of the first account that a key makes. It follows from the key, so that a client whose account a store has
// lost, and which makes it anew before the journal brings it back, gets the account that it had. It is no secret, and
// nothing is granted to who knows it.
func accountID(thumbprint string) AccountID {
	sum := sha256.Sum256([]byte("account of " + thumbprint))
	return AccountID(base64.RawURLEncoding.EncodeToString(sum[:idBytes]))
}

// newID makes the random part of another object's URL.
func newID() string {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// isID reports whether s has the form of an id, so that nothing else reaches a store's keys.
func isID(s string) bool {
	if len(s) != idLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// parseURL reads an escaped path and a raw query. Each URL has one spelling: a path that [target.path] would write
// differently names nothing.
func parseURL(path, query string) (target, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return target{}, false
	}
	t, ok := parseSegments(strings.Split(rest, "/"))
	if !ok || t.path() != path {
		return target{}, false
	}
	if t.resource == resOrders {
		t.query = query
	}
	return t, true
}

func parseSegments(s []string) (t target, ok bool) {
	switch {
	case len(s) == 1 && s[0] == "directory":
		return target{resource: resDirectory}, true
	case len(s) == 3 && s[0] == "in" && s[2] == "directory":
		t = target{resource: resDirectory}
		t.org, ok = unescape(s[1])
		return t, ok
	case len(s) == 4 && s[0] == "in" && s[3] == "directory":
		t = target{resource: resDirectory}
		ok = t.parseIn(s[1], s[2])
		return t, ok
	case len(s) >= 2 && s[0] == "r":
		return parseResource(s[1], s[2:])
	}
	return target{}, false
}

func parseResource(word string, s []string) (t target, ok bool) {
	switch word {
	case "new-nonce":
		return target{resource: resNewNonce}, len(s) == 0
	case "revoke-cert":
		return target{resource: resRevoke}, len(s) == 0
	case "key-change":
		return target{resource: resKeyChange}, len(s) == 0
	case "new-account", "new-authz", "new-order":
		return parseNew(word, s)
	}
	if len(s) == 0 {
		return target{}, false
	}
	id, tail := s[0], strings.Join(s[1:], "/")
	switch word {
	case "account":
		t = target{resource: resAccount, account: AccountID(id)}
		if tail == "orders" {
			t.resource, tail = resOrders, ""
		}
		ok = isID(id)
	case "order":
		t = target{resource: resOrder, order: OrderID(id)}
		if tail == "finalize" {
			t.resource, tail = resFinalize, ""
		}
		ok = isID(id)
	case "renewal-info":
		t, ok = target{resource: resRenewalInfo, certID: id}, id != "" && len(id) <= maxCertID
	case "authz":
		t, ok = target{resource: resAuthz, authz: AuthzID(id)}, isID(id)
	case "challenge":
		t, ok = parseChallenge(id)
	case "certificate":
		t, ok = parseCertificate(id)
		if n, err := strconv.ParseUint(tail, 10, 8); err == nil { // "0" is not how the default chain is written
			t.chain, tail = int(n), ""
		}
	}
	return t, ok && tail == ""
}

func parseNew(word string, s []string) (t target, ok bool) {
	t.resource = resNewOrder
	switch word {
	case "new-account":
		t.resource = resNewAccount
	case "new-authz":
		t.resource = resNewAuthz
	}
	switch {
	case len(s) == 0:
		return t, true
	case len(s) == 2 && s[0] == "in":
		t.org, ok = unescape(s[1])
		return t, ok
	case len(s) == 3 && s[0] == "in" && t.resource != resNewAccount:
		ok = t.parseIn(s[1], s[2])
		return t, ok
	}
	return target{}, false
}

// parseIn reads the segments of organisation and profile.
func (t *target) parseIn(org, profile string) (ok bool) {
	if t.org, ok = unescape(org); ok {
		t.profile, ok = unescape(profile)
	}
	return ok
}

func parseChallenge(id string) (target, bool) {
	authz, number, ok := strings.Cut(id, ".")
	if !ok || !isID(authz) {
		return target{}, false
	}
	position, err := strconv.ParseUint(number, 10, 8)
	return target{resource: resChallenge, authz: AuthzID(authz), position: int(position)}, err == nil
}

// parseCertificate reads an issuer's name and a serial. The serial has at most twenty octets (RFC 5280, 4.1.2.2).
func parseCertificate(id string) (target, bool) {
	dot := strings.LastIndexByte(id, '.')
	if dot < 1 {
		return target{}, false
	}
	issuer, ok := unescape(id[:dot])
	serial := id[dot+1:]
	ok = ok && serial != "" && len(serial) <= 40 && strings.Trim(serial, "0123456789abcdef") == ""
	return target{resource: resCertificate, certificate: &CertificateID{Issuer: issuer, Serial: ca.Serial(serial)}}, ok
}

func unescape(segment string) (string, bool) {
	s, err := url.PathUnescape(segment)
	return s, err == nil && s != ""
}

// formatCursor is the query of a list's page. A cursor is whatever octets the store names a place in the list with.
func formatCursor(cursor string) string {
	return "cursor=" + base64.RawURLEncoding.EncodeToString([]byte(cursor))
}

// parseCursor reads it. An empty query is the first page.
func parseCursor(query string) (cursor string, ok bool) {
	if query == "" {
		return "", true
	}
	encoded, ok := strings.CutPrefix(query, "cursor=")
	if !ok || len(encoded) > base64.RawURLEncoding.EncodedLen(maxCursorBytes) {
		return "", false
	}
	octets, err := decode64(encoded)
	return string(octets), err == nil && len(octets) > 0
}

// path is the escaped path of a target, with its query if it has one.
func (t target) path() string {
	switch t.resource {
	case resDirectory:
		return prefix + strings.TrimPrefix(t.in()+"/directory", "/")
	case resNewNonce:
		return prefix + "r/new-nonce"
	case resNewAccount:
		return prefix + "r/new-account" + t.in()
	case resNewAuthz:
		return prefix + "r/new-authz" + t.in()
	case resNewOrder:
		return prefix + "r/new-order" + t.in()
	case resAccount:
		return prefix + "r/account/" + string(t.account)
	case resOrders:
		path := prefix + "r/account/" + string(t.account) + "/orders"
		if t.query != "" {
			path += "?" + t.query
		}
		return path
	case resOrder:
		return prefix + "r/order/" + string(t.order)
	case resFinalize:
		return prefix + "r/order/" + string(t.order) + "/finalize"
	case resAuthz:
		return prefix + "r/authz/" + string(t.authz)
	case resChallenge:
		return prefix + "r/challenge/" + string(t.authz) + "." + strconv.Itoa(t.position)
	case resCertificate:
		path := prefix + "r/certificate/" + url.PathEscape(t.certificate.Issuer) + "." + string(t.certificate.Serial)
		if t.chain > 0 {
			path += "/" + strconv.Itoa(t.chain)
		}
		return path
	case resRevoke:
		return prefix + "r/revoke-cert"
	case resRenewalInfo:
		return prefix + strings.TrimSuffix("r/renewal-info/"+t.certID, "/")
	case resKeyChange:
		return prefix + "r/key-change"
	}
	return prefix
}

// in is the part of a path that names organisation and profile.
func (t target) in() string {
	switch {
	case t.org == "":
		return ""
	case t.profile == "":
		return "/in/" + url.PathEscape(t.org)
	}
	return "/in/" + url.PathEscape(t.org) + "/" + url.PathEscape(t.profile)
}

// links writes our URLs and recognises them. Bases are what the configuration calls public URLs; the first is written,
// all are recognised. They are compared as strings and never made from a request's Host (RFC 8555, 6.4).
type links struct{ bases []string }

func newLinks(publicURLs []string) (links, error) {
	if len(publicURLs) == 0 {
		return links{}, fmt.Errorf("acme: no public URL is configured")
	}
	for _, base := range publicURLs {
		u, err := url.Parse(base)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" ||
			u.Fragment != "" || u.User != nil || strings.HasSuffix(base, "/") {
			return links{}, fmt.Errorf("acme: %q is no public URL; give scheme, host and, if needed, port, without a trailing slash", base)
		}
	}
	return links{bases: publicURLs}, nil
}

func (l links) to(t target) string { return l.bases[0] + t.path() }

func (l links) account(id AccountID) string { return l.to(target{resource: resAccount, account: id}) }

func (l links) order(id OrderID) string { return l.to(target{resource: resOrder, order: id}) }

func (l links) authz(id AuthzID) string { return l.to(target{resource: resAuthz, authz: id}) }

func (l links) challenge(id AuthzID, position int) string {
	return l.to(target{resource: resChallenge, authz: id, position: position})
}

// names reports whether sent, the "url" of a protected header, is one of our names for the URL that was asked for.
func (l links) names(sent, path, query string) bool {
	if query != "" {
		path += "?" + query
	}
	for _, base := range l.bases {
		if rest, ok := strings.CutPrefix(sent, base); ok && rest == path {
			return true
		}
	}
	return false
}

// accountOf finds the account in a "kid" (RFC 8555, 6.2).
func (l links) accountOf(kid string) (AccountID, bool) {
	for _, base := range l.bases {
		if rest, ok := strings.CutPrefix(kid, base); ok {
			if t, ok := parseURL(rest, ""); ok && t.resource == resAccount {
				return t.account, true
			}
		}
	}
	return "", false
}
