package acme

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/ca"
)

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
