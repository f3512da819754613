package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Keys and indexes. docs/storage.md is the table of them all; every key is made in this file.

const (
	keyMarker    Key = "meta"
	keyNonceKeys Key = "nonce-keys"
	keyOrgs      Key = "organisations" // changes with every organisation of the store

	seqEnrollment   = "enrollment"
	seqOrganisation = "organisation"
	seqDomain       = "domain"
	seqEABKey       = "eab-key"

	indexIssuers     = "issuers"      // issuer names ever used
	indexIntents     = "intents"      // time opened, issuer, serial: intents that are open
	indexDue         = "due"          // time due, enrollment: requested enrollments
	indexValidations = "validations"  // time due, authorization: validations under way
	indexOrderEnds   = "order-ends"   // time of removal, account, order
	indexFailures    = "failures"     // time of failure, organisation, authorization
	indexAll         = "all"          // enrollment: every organisation's
	indexWaiting     = "waiting"      // enrollment: those that wait for people
	indexJournals    = "journals"     // ids of journals that have a mark
	indexLooks       = "looks"        // time due, organisation, enrollment: requests that wait for validation
	indexUpkeep      = "upkeep"       // time due, enrollment: those about which the gateway does something by itself
	indexRemoved     = "removed"      // enrollment: those that were removed
	indexRemovedEnds = "removed-ends" // time of forgetting, enrollment

	indexOrganisations = "organisations"  // organisation: those of the store
	indexEABKeys       = "eab-keys"       // time made, key for external account binding
	indexPrincipals    = "principals"     // time made, principal
	indexDomains       = "domains"        // name: domains of organisations
	indexDomainNumbers = "domain-numbers" // number, name: every domain that ever was
	indexDomainLooks   = "domain-looks"   // time due, name: domains whose validation is under way
	indexDomainNotes   = "domain-notes"   // time, name: changes of domains that a journal may lack
	indexUnjournaled   = "unjournaled"    // time, object: changes that a journal may lack

	indexPrivateKeys = "private-keys" // enrollment: those whose private key is kept
	indexKeyEnds     = "key-ends"     // notAfter, enrollment: the same once there is a certificate
	indexKeyNotes    = "key-notes"    // time, enrollment: private keys of which a journal may lack something

	indexEvents    = "events"     // time, event: those that nobody was told of yet
	indexMails     = "mails"      // time due, mail: those to be sent
	indexMailsLost = "mails-lost" // time of giving up, mail

	indexImportNotes     = "import-notes"     // time, enrollment: imports that a journal may lack
	indexImportedSerials = "imported-serials" // serial, enrollment: certificates that were issued elsewhere

	topicOrganisations = "organisations"
)

func keyAccount(id acme.AccountID) Key { return Key("account/" + id) }
func keyThumbprint(t string) Key       { return Key("account-key/" + t) }
func keyOrder(id acme.OrderID) Key     { return Key("order/" + id) }
func keyAuthz(id acme.AuthzID) Key     { return Key("authz/" + id) }

func keyUsable(account acme.AccountID, name identifier.Identifier) Key {
	return Key("usable/" + string(account) + "/" + name.String())
}

// keyLimit is a counter's, in a space of its own beside the records'.
func keyLimit(t acme.Take) Key { return Key(string(t.Limit) + "/" + t.Of) }

func keyEnrollment(id ra.ID) Key { return Key("enrollment/" + strconv.FormatInt(int64(id), 10)) }

// keyStanding is where it says which enrollment is the newest of a content that needs approvals.
func keyStanding(content string) Key { return Key("standing/" + content) }

func keyClaim(c ra.Claim) Key {
	// The scope's length keeps ("a/b", "c") and ("a", "b/c") apart.
	return Key("claim/" + string(c.Door) + "/" + strconv.Itoa(len(c.Scope)) + "/" + c.Scope + "/" + c.Name)
}

func keyCertificate(issuer string, serial ca.Serial) Key {
	return Key("certificate/" + issuer + "/" + string(serial))
}

// keyReplacement is where it says what replaces a certificate.
func keyReplacement(issuer string, serial ca.Serial) Key {
	return Key("replacement/" + issuer + "/" + string(serial))
}

// keyReplacementOf is the same of an enrollment. What was imported has no issuer of ours, and its serial may be another's as well.
func keyReplacementOf(e *ra.Enrollment) Key {
	if e.Imported {
		return Key("replacement//" + strconv.FormatInt(int64(e.ID), 10))
	}
	return keyReplacement(e.Issuer, e.Serial)
}

func keyCRL(issuer string, shard int) Key {
	return Key("crl/" + issuer + "/" + strconv.Itoa(shard))
}

func keyCRLLease(issuer string, shard int) Key { return "lease/" + keyCRL(issuer, shard) }

// keyImport has the enrollment that an organisation has imported a certificate as, by the certificate's SHA-256.
func keyImport(org auth.OrgID, fingerprint [32]byte) Key {
	return Key("import/" + strconv.Itoa(int(org)) + "/" + hex.EncodeToString(fingerprint[:]))
}

// keyImported is where an enrollment's certificate is that was issued elsewhere.
func keyImported(id ra.ID) Key { return Key("imported/" + strconv.FormatInt(int64(id), 10)) }

// keyImportedIssuer is where an issuer's certificate is that came with an imported one, under its hash.
func keyImportedIssuer(der []byte) (Key, []byte) {
	hash := sha256.Sum256(der)
	return keyImportedIssuerHash(hash[:]), hash[:]
}

func keyImportedIssuerHash(hash []byte) Key {
	return Key("imported-issuer/" + hex.EncodeToString(hash))
}

// keyImports changes with each import under a bound.
func keyImports(org auth.OrgID) Key { return Key("imports/" + strconv.Itoa(int(org))) }

// indexOrgImports has the enrollments of an organisation that were imported and are not forgotten.
func indexOrgImports(org auth.OrgID) string { return "imports/" + strconv.Itoa(int(org)) }

// indexOrgImportIssuers has the hashes of the issuers' certificates that have come with them.
func indexOrgImportIssuers(org auth.OrgID) string { return "import-issuers/" + strconv.Itoa(int(org)) }

func keyOrg(id auth.OrgID) Key   { return Key("organisation/" + strconv.Itoa(int(id))) }
func keyOrgSlug(slug string) Key { return Key("organisation-slug/" + slug) }
func keyEAB(kid string) Key      { return Key("eab/" + kid) }

// keyEABNumber has the key for external account binding with a number.
func keyEABNumber(n int32) Key { return Key("eab-number/" + strconv.Itoa(int(n))) }

func keyPrincipal(id auth.PrincipalID) Key { return Key("principal/" + strconv.Itoa(int(id))) }

// keyLogin has the principal with a login below an organisation without a parent.
func keyLogin(customer auth.OrgID, login string) Key {
	return Key("login/" + strconv.Itoa(int(customer)) + "/" + login)
}

// keyCredential has the principal whose credential something finds.
func keyCredential(lookup string) Key { return Key("credential/" + lookup) }

func keyCredentialUsed(id string) Key { return Key("credential-used/" + id) }

// keyKnownAddress is there if a principal has proved its password at an address.
func keyKnownAddress(id auth.PrincipalID, address string) Key {
	return Key("known-address/" + strconv.Itoa(int(id)) + "/" + address)
}

// keyToken is an access token's, by the hash of it.
func keyToken(hash [32]byte) Key { return Key("token/" + hex.EncodeToString(hash[:])) }

// keyAttempts is a counter's, in the space of keyLimit.
func keyAttempts(r auth.AttemptRate) Key { return Key("attempts." + r.Name + "/" + r.Of) }

func indexOrgPrincipals(org auth.OrgID) string { return "principals/" + strconv.Itoa(int(org)) }

// keyPrivateKey is where an enrollment's private key is, sealed.
func keyPrivateKey(id ra.ID) Key { return Key("key/" + strconv.FormatInt(int64(id), 10)) }

// keyDownload is a link's, by the hash of its secret.
func keyDownload(hash [32]byte) Key { return Key("download/" + hex.EncodeToString(hash[:])) }

// keyLinks has the links that were made for an enrollment's private key and have not expired, oldest first.
func keyLinks(id ra.ID) Key { return Key("links/" + strconv.FormatInt(int64(id), 10)) }

// keyLinkRate is a counter's, in the space of keyLimit.
func keyLinkRate(org auth.OrgID) Key { return Key("key-links/" + strconv.Itoa(int(org))) }

func keyEvent(id string) Key { return Key("event/" + id) }
func keyMail(id string) Key  { return Key("mail/" + id) }

func keyDomain(name identifier.Identifier) Key { return Key("domain/" + name.Value()) }

// keyDomainNumber has the name whose number it is.
func keyDomainNumber(n ra.DomainNumber) Key { return Key("domain-number/" + n.String()) }

// keyEmailLink says to which domain a link in a mail belongs.
func keyEmailLink(id string) Key { return Key("email-link/" + id) }

// indexOrgDomains has the names of domains that an organisation owns, that are delegated to it or that it wants.
func indexOrgDomains(org auth.OrgID) string { return "domains/" + strconv.Itoa(int(org)) }

// indexOrgEABKeys has those of an organisation that were not removed.
func indexOrgEABKeys(org auth.OrgID) string { return "eab-keys/" + strconv.Itoa(int(org)) }

// indexEABAccounts has the accounts that were bound by a key.
func indexEABAccounts(kid string) string { return "eab-accounts/" + kid }

// indexOrgFailures has time of failure and authorization.
func indexOrgFailures(org auth.OrgID) string { return "failures/" + strconv.Itoa(int(org)) }

func indexOrders(account acme.AccountID) string { return "orders/" + string(account) }
func indexOrg(org auth.OrgID) string            { return "org/" + strconv.Itoa(int(org)) }
func indexRevoked(issuer string) string         { return "revoked/" + issuer }
func indexName(org auth.OrgID) string           { return "name/" + strconv.Itoa(int(org)) }

// indexCommonName has CNs in lower case, reversed as the names in indexName, of certificates whose CN is none of their names:
// some of those that were imported.
func indexCommonName(org auth.OrgID) string { return "common-name/" + strconv.Itoa(int(org)) }

// indexRemovedName has the names, as indexName has them, of removed enrollments that count towards a quota.
func indexRemovedName(org auth.OrgID) string { return "removed-name/" + strconv.Itoa(int(org)) }

func indexExpiry(org auth.OrgID) string { return "expiry/" + strconv.Itoa(int(org)) }

func indexPhase(org auth.OrgID, p ra.Phase) string {
	return "phase/" + strconv.Itoa(int(org)) + "/" + strconv.Itoa(int(p))
}

func indexProfile(org auth.OrgID, profile string) string {
	return "profile/" + strconv.Itoa(int(org)) + "/" + profile
}

// indexHeld has notAfter and enrollment of what counts towards a quota.
func indexHeld(org auth.OrgID, profile string) string {
	return "held/" + strconv.Itoa(int(org)) + "/" + profile
}

// keyQuota changes with each certificate that is begun under a quota.
func keyQuota(org auth.OrgID, profile string) Key {
	return Key("quota/" + strconv.Itoa(int(org)) + "/" + profile)
}

// keyValidating changes with each request that begins to wait for validation.
func keyValidating(org auth.OrgID) Key { return Key("validating/" + strconv.Itoa(int(org))) }

// keyWaiting changes with each request that begins to wait under a bound.
func keyWaiting(org auth.OrgID) Key { return Key("waiting/" + strconv.Itoa(int(org))) }

// indexWaitingOf has the enrollments of a requester that wait for people.
func indexWaitingOf(org auth.OrgID, requester string) string {
	return "waiting/" + strconv.Itoa(int(org)) + "/" + requester
}

func indexRequester(org auth.OrgID, principal string) string {
	return "requester/" + strconv.Itoa(int(org)) + "/" + principal
}

func topicRevoked(issuer string) string { return "revoked/" + issuer }
func topicCRL(issuer string) string     { return "crl/" + issuer }

// member joins a number that sorts and a name.
func member(n int64, name string) []byte {
	b := make([]byte, 8, 8+len(name))
	binary.BigEndian.PutUint64(b, uint64(n))
	return append(b, name...)
}

// memberParts takes apart what member made; ok is false for anything shorter than its number.
func memberParts(m []byte) (n int64, name string, ok bool) {
	if len(m) < 8 {
		return 0, "", false
	}
	return int64(binary.BigEndian.Uint64(m)), string(m[8:]), true
}

// timeMember is member with a time to the millisecond.
func timeMember(t time.Time, name string) []byte { return member(t.UnixMilli(), name) }

// until is the range of timeMembers up to and including t.
func until(t time.Time) Range { return Range{To: member(t.UnixMilli()+1, "")} }

// expiryMember sorts by notAfter; what has none yet comes first.
func expiryMember(notAfter time.Time, id []byte) []byte {
	return append(member(max(0, notAfter.Unix()), ""), id...)
}

// nameMember sorts names by their ends, so that a suffix of names is a prefix of members. No name holds an octet 0.
func nameMember(name string, id []byte) []byte {
	return append(append(reversed(name), 0), id...)
}

func reversed(s string) []byte {
	b := []byte(s)
	slices.Reverse(b)
	return b
}

func idMember(id ra.ID) []byte { return member(int64(id), "") }
