package auth

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// PrincipalID is a principal's number: random, above zero and below 2^31, so that it is never given twice, whatever becomes
// of the store. A principal is "user:<number>" wherever somebody acts.
type PrincipalID int32

// String is the principal as journals and records name it.
func (id PrincipalID) String() string { return principalPrefix + strconv.Itoa(int(id)) }

// ParsePrincipalID is the inverse of [PrincipalID.String].
func ParsePrincipalID(text string) (PrincipalID, bool) {
	digits, ok := strings.CutPrefix(text, principalPrefix)
	n, err := strconv.ParseInt(digits, 10, 32)
	id := PrincipalID(n)
	return id, ok && err == nil && id > 0 && id.String() == text
}

func newPrincipalID() PrincipalID {
	for {
		var b [4]byte
		rand.Read(b[:])
		if id := PrincipalID(binary.BigEndian.Uint32(b[:]) >> 1); id > 0 {
			return id
		}
	}
}

const (
	maxLogin = 100 // octets
	maxName  = 200 // characters
	maxMail  = 254 // octets (RFC 5321, 4.5.3.1.3, without its brackets)
	// maxGrants bounds the roles of a principal.
	maxGrants = 100
	// maxCredentials bounds a principal's credentials, those that have ended included.
	maxCredentials = 50
	// MaxPrincipalPage is how many principals one page lists at most.
	MaxPrincipalPage = 500
)

// Principal is a person or a program that acts by credentials of its own. It is a value: what a Store or [Principals]
// returned may be kept and is changed by nobody.
type Principal struct {
	ID  PrincipalID
	Org OrgID // its home: it acts there and below. Never changed
	// Customer is the organisation without a parent above Org when it was made: logins are unique below one. Never changed.
	Customer OrgID
	Login    string // lower case. Never changed by a command
	Name     string // for people
	Mail     string // may be empty
	Grants   []Grant
	Created  time.Time
	Expires  time.Time // the first moment at which it cannot act any more; zero: never
	Disabled time.Time // since when it cannot act; zero: it can
	Password Password
	// Credentials are its keys, clients and certificates, oldest first.
	Credentials []Credential
	// Pruned: credentials that were made until then, and are not in Credentials, had ended and were removed.
	Pruned  time.Time
	Edits   int64    // how often it was changed: of two states the one with more is the later
	Version [16]byte // of the record; the Store's
}

// Password is what is kept of a password; the zero value is none.
type Password struct {
	// Sealed is the argon2id hash with its parameters, sealed for [seal.PasswordHash] and the principal.
	Sealed  []byte
	Changed time.Time
}

// clone is a copy to change.
func (p *Principal) clone() *Principal {
	c := *p
	c.Grants, c.Credentials = slices.Clone(p.Grants), slices.Clone(p.Credentials)
	return &c
}

// works is nil if the principal may act at a time. The reason is for logs and operators, never for whoever authenticates.
func (p *Principal) works(now time.Time) error {
	switch {
	case !p.Disabled.IsZero():
		return errors.New("it is disabled")
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return errors.New("it has expired")
	default:
		return nil
	}
}

// Credential finds one of its credentials.
func (p *Principal) Credential(id string) (Credential, bool) {
	i := slices.IndexFunc(p.Credentials, func(c Credential) bool { return c.ID == id })
	if i < 0 {
		return Credential{}, false
	}
	return p.Credentials[i], true
}

// Lookups are what its credentials are found by: each names this principal alone, in the whole store.
func (p *Principal) Lookups() (list []string) {
	for _, c := range p.Credentials {
		list = append(list, c.lookups()...)
	}
	return list
}

// caller is the principal, authenticated by something.
func (p *Principal) caller(by string) Caller {
	return Caller{Principal: p.ID.String(), Org: p.Org, Roles: slices.Clone(p.Grants), Credential: by}
}

const loginForm = "take 1 to 100 letters, digits or any of . _ - + @, the first a letter or a digit"

// foldLogin is a login as it is kept: logins are compared without regard to case. ok is false for what can be none.
func foldLogin(login string) (folded string, ok bool) {
	if login == "" || len(login) > maxLogin || strings.HasPrefix(strings.ToLower(login), principalPrefix) {
		return "", false
	}
	for i, c := range []byte(login) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-+@", rune(c))) {
			return "", false
		}
	}
	return strings.ToLower(login), true
}

// checkMail holds an address to what can be written into a mail; whether it works is found out by sending.
func checkMail(mail string) error {
	local, domain, ok := strings.Cut(mail, "@")
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`<>"(),:;\[]`, r)
	}
	if !ok || local == "" || domain == "" || len(mail) > maxMail || strings.Contains(domain, "@") || !utf8.ValidString(mail) ||
		slices.ContainsFunc([]rune(mail), odd) {
		return fmt.Errorf("mail is no address of the form user@example.com")
	}
	return nil
}
