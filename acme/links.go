package acme

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
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
