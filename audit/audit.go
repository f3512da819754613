// Package audit keeps the journal: the hash-chained, fsynced record of what was signed, revoked and changed, and by whom.
//
// It decides the journal's format, when an entry is durable and whether a chain verifies. It trusts the file system to
// keep what fsync acknowledged. It never drops, reorders or rewrites an entry, and never holds a secret. If an entry
// cannot be written the caller's action must not happen: Append returns an error and keeps returning it until the
// journal can be written again.
//
// # Format
//
// A journal is a folder of segments. A segment is a text file of JSON objects, one a line, named after the sequence
// number of its first line: 0000000000000001.jsonl. Once closed it is compressed and its name says its last line as
// well: 0000000000000001-0000000000004711.jsonl.gz. A line is
//
//	{"seq":N,"prev":"<64 hex>","group":G,<the fields of Event>}
//
// where prev is the SHA-256 of the previous line including its newline, across segments: what
// "sed -n 5p segment | sha256sum" prints is the prev of line 6. The first line of a journal also carries the journal's
// random id, "journal":"<32 hex>", and its prev is the SHA-256 of "gatehouse journal " followed by that id.
// Group is the sequence number of the first line that reached the disk in the same write: every line below it was on
// disk before this one was written. The chain shows any change but one to the end: who can rewrite the last lines can
// also cut them off, so a [Mark] taken earlier and kept elsewhere is what proves the end.
//
// The segment being written is filled with zero bytes ahead of its lines, 1 MiB at a time, because a sync that need
// not record a new file length costs half as much. Zero bytes where a line would begin are the end. After a crash the
// last group may be there in pieces, sectors in any order; it was never acknowledged, and Open cuts it off at the
// first line that is not whole. Damage is taken for such an unfinished group only if no line of a later group follows.
package audit

import "time"

// Kind says what happened.
type Kind string

// The kinds. Each names the fields of [Event] that it fills besides At, Actor and Org.
const (
	Started       Kind = "started"        // a gateway opened the journal: Detail is its version
	WillSign      Kind = "will-sign"      // Enrollment, Issuer, Serial, Names, Hash (of the to-be-signed), NotAfter
	Signed        Kind = "signed"         // Enrollment, Issuer, Serial, Names, DER
	Abandoned     Kind = "abandoned"      // an intent was closed without a certificate: Enrollment, Issuer, Serial, NotAfter, Hash (of the to-be-signed)
	Revoked       Kind = "revoked"        // Enrollment, Issuer, Serial, Reason, Detail (the comment); and the certificate: NotAfter, DER, Requester, Issued
	CRLSigned     Kind = "crl-signed"     // Issuer, Number, Hash (of the DER)
	AccountMade   Kind = "account-made"   // Account, Data (the whole account)
	AccountEdited Kind = "account-edited" // Account, Data (the whole account); may repeat what was said
	OrgMade       Kind = "org-made"       // an organisation was made by command: Org, Data (the whole organisation), Detail (its slug)
	OrgEdited     Kind = "org-edited"     // the same after a change; may repeat what was said
	EABKeyMade    Kind = "eab-key-made"   // a key for external account binding: Org, Data (the whole key, its MAC key sealed), Detail (its id)
	EABKeyEdited  Kind = "eab-key-edited" // the same after a change; may repeat what was said
	// A principal, with its roles and credentials, was made: Org (its home), Data (the whole principal: of credentials the
	// hashes of high-entropy secrets, of the password the hash, sealed), Detail (its login, and what was done).
	PrincipalMade   Kind = "principal-made"
	PrincipalEdited Kind = "principal-edited" // the same after a change; may repeat what was said
	DomainChanged   Kind = "domain-changed"   // a domain of an organisation: Org (its owner), Data (the whole domain), Detail (its name, and what was done); may repeat
	AuthzGivenUp    Kind = "authz-given-up"   // an ACME authorization was deactivated: Account, Data (which, and when); may repeat

	// An operator said when a certificate should be renewed, or took that back: Enrollment, Issuer, Serial, Data (the window,
	// the explanation and when it was said), Detail (the explanation's URL); and the certificate, as Revoked has it.
	RenewalSuggested Kind = "renewal-suggested"

	// An operator asks for a certificate in a principal's name: Requester, Door, Profile, Names. What comes of it is in entries of
	// its own.
	AskedFor Kind = "asked-for"
	// A certificate that was issued elsewhere came into the inventory: Enrollment, Serial, Names, DER, Door, Profile, Data (when,
	// the issuers' certificates it came with, and what goes with the enrollment), Detail (its issuer's name). May repeat what was said.
	Imported Kind = "imported"
	// Somebody showed a certificate that one of our issuers has signed and of which there is no record, which must never happen:
	// Issuer, Serial, DER. Org is whose inventory it was meant for.
	Unrecorded Kind = "unrecorded"

	// The private key of an enrollment was recorded, sealed, or sealed anew; or it was destroyed; or somebody was given it:
	// Enrollment, Issuer, Serial, Hash (of the public key), Data (the whole key, sealed; of a destroyed one when), Detail (what
	// was done); and the certificate, once there is one, as Revoked has it. The first two may repeat what was said.
	KeyStored     Kind = "key-stored"
	KeyDestroyed  Kind = "key-destroyed"
	KeyDownloaded Kind = "key-downloaded"

	MailCancelled Kind = "mail-cancelled" // a mail that waited, or was given up, was removed by command: Org, Detail (what about, and to whom)

	// Somebody consented to a request, or ended it: Enrollment, Profile, Requester, Names, Content, Detail (the message). May
	// repeat what was said.
	Approved Kind = "approved"
	Declined Kind = "declined"
	// A request was taken back by whom it belongs to: Enrollment, Profile, Requester, Names, Content if it needed approvals. May
	// repeat what was said.
	Cancelled Kind = "cancelled"

	// What goes with an enrollment was changed, or said with its request, or the enrollment was removed: Enrollment, Profile, Requester, Data (all that goes
	// with it), Detail (what was done); and the certificate, once there is one, as Revoked has it. May repeat what was said.
	EnrollmentEdited  Kind = "enrollment-edited"
	EnrollmentRemoved Kind = "enrollment-removed"
	// An enrollment that is to renew itself could not: Enrollment, Profile, Requester, Issuer, Serial, Detail (why).
	RenewalFailed Kind = "renewal-failed"
)

// Event is one entry before it is chained. It carries no secret. Fields that a kind does not name stay zero.
type Event struct {
	Kind       Kind      `json:"kind"`
	At         time.Time `json:"at"`                   // UTC
	Actor      string    `json:"actor"`                // "acme:<account>", "user:<number>", "uid:<number>", "system"
	Org        int32     `json:"org,omitempty"`        // organisation number
	Enrollment int64     `json:"enrollment,omitempty"` // enrollment number
	Account    string    `json:"account,omitempty"`    // ACME account id
	Issuer     string    `json:"issuer,omitempty"`     // issuer name
	Serial     string    `json:"serial,omitempty"`     // lower-case hex
	Names      []string  `json:"names,omitempty"`      // as in the certificate
	Number     int64     `json:"number,omitempty"`     // CRL number
	Reason     int       `json:"reason,omitempty"`     // RFC 5280, 5.3.1
	NotAfter   time.Time `json:"notAfter,omitzero"`    // of the intended certificate
	Hash       []byte    `json:"hash,omitempty"`       // SHA-256
	DER        []byte    `json:"der,omitempty"`        // the certificate
	Data       []byte    `json:"data,omitempty"`       // the record as storage encodes it, for a replay
	Detail     string    `json:"detail,omitempty"`     // for people
	// The rest of what an enrollment is, in WillSign, Signed and Revoked: a store that lost it is given it back.
	Door        string `json:"door,omitempty"`
	Profile     string `json:"profile,omitempty"`
	ProfileHash string `json:"profileHash,omitempty"`
	// Who asked for a certificate and when it was recorded, in Revoked and RenewalSuggested, where Actor and At are those of
	// the entry's own subject. With them the entry alone brings the certificate back: its Signed can be in the journal of another gateway.
	Requester string    `json:"requester,omitempty"`
	Issued    time.Time `json:"issued,omitzero"` // UTC
	// What was approved, as a digest, and the principals who did, in WillSign and Signed of a profile that demands approvals
	// (none for a free renewal); Content in Approved and Declined.
	Content   string   `json:"content,omitempty"`
	Approvers []string `json:"approvers,omitempty"`
}
