package ra

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// A private key leaves by a link alone, which whoever holds it can use once: to look at it changes nothing, a POST takes the file.
// The link is marked as used before the file is on its way, so a file that is lost on the way is gone with its link, and another
// link must be asked for.

// linkSize is the octets of a link's secret: 128 bits.
const linkSize = 16

// Offer is what a link gives. Its words are those of the door that writes the file; here they are opaque.
type Offer struct {
	Format  string // of the file
	Content string // which certificates it has beside the key
	Clear   bool   // the file is not encrypted
	// Password is what the file is encrypted under, where that was chosen when the link was made. Empty: whoever takes the file
	// chooses. A [Download] has it sealed alone.
	Password string
}

// Download is a link. It has no secret.
type Download struct {
	Offer
	Hash       [32]byte // SHA-256 of the secret
	Enrollment ID
	Org        auth.OrgID
	Key        time.Time // [Enrollment].KeyStored of the key that it gives; no other
	By         string    // principal who asked for it
	Created    time.Time
	Expires    time.Time // the first moment at which it cannot be used any more
	Sealed     []byte    // the password, under seal.DownloadPassword and Hash in hex; nil: none was chosen
	Version    [16]byte  // of the record as read
}

// errLink is all that is said of a link that cannot be used: whether there ever was one is nobody's business.
var errLink = problem.New(problem.NotFound, "this link cannot be used: it has been used, has expired, or never was one; ask for another")

// OfferDownload makes a link by which an enrollment's private key can be downloaded once: the secret, which is kept nowhere, and
// what it stands for. For those who may handle the key ([auth.ReadKeys]). Of the links to one key the newest [NewestLinks] can be
// used: who asks again because an answer was lost is not refused, and leaves no more behind than that.
//
// Errors: NotFound, Unauthorized; Malformed for a password that is too long, or where the file has none; Conflict if there is no
// certificate yet, or no key (any more), with [ErrNoKeyKept]; RateLimited if too many were made for the organisation;
// seal.ErrNoKey.
func (r *Registrar) OfferDownload(ctx context.Context, caller auth.Caller, id ID, offer Offer) (secret string, d *Download, err error) {
	if len(offer.Password) > maxLinkPassword || offer.Clear && offer.Password != "" {
		return "", nil, problem.New(problem.Malformed, "password: the file has none, or it has more than %d octets", maxLinkPassword)
	}
	e, err := r.escrowed(ctx, caller, id)
	if err != nil {
		return "", nil, err
	}
	k, err := r.storedKey(ctx, e)
	if err != nil {
		return "", nil, err
	}
	if _, _, err := r.leaf(ctx, e); err != nil {
		return "", nil, err
	}
	if err := r.keysKept(); err != nil {
		return "", nil, err
	}
	if err := r.Escrow.Sealer.Opens(k.Sealed); err != nil {
		return "", nil, unopened(e.ID, err)
	}
	if err := r.takeLink(ctx, caller, e); err != nil {
		return "", nil, err
	}
	raw := make([]byte, linkSize)
	rand.Read(raw)
	secret = base64.RawURLEncoding.EncodeToString(raw)
	now := r.Now().UTC()
	d = &Download{
		Offer: offer, Hash: sha256.Sum256([]byte(secret)), Enrollment: e.ID, Org: e.Org, Key: k.At, By: caller.Principal, Created: now,
		Expires: now.Add(r.Escrow.LinkLifetime),
	}
	if offer.Password != "" {
		d.Password = ""
		if d.Sealed, err = r.Escrow.Sealer.Seal(ctx, seal.DownloadPassword, d.object(), []byte(offer.Password)); err != nil {
			return "", nil, err
		}
	}
	if err := r.Escrow.Store.AddDownload(ctx, d, NewestLinks); err != nil {
		return "", nil, err
	}
	return secret, d, nil
}

// maxLinkPassword is how long a password may be that is kept with a link, in octets.
const maxLinkPassword = 512

// takeLink counts a link, and refuses one too many.
func (r *Registrar) takeLink(ctx context.Context, caller auth.Caller, e *Enrollment) error {
	if caller.Operator || r.Escrow.LinksPerHour < 0 {
		return nil
	}
	wait, err := r.Escrow.Store.TakeLink(ctx, e.Org, r.Escrow.LinksPerHour)
	if err == nil && wait > 0 {
		err = problem.New(problem.RateLimited, "too many links to private keys were made for this organisation; try again later").After(wait)
	}
	return err
}

// object is what the sealed password is bound to.
func (d *Download) object() string { return hex.EncodeToString(d.Hash[:]) }

// unopened is the error of a key that does not open, which an operator must look at.
func unopened(id ID, err error) error {
	if _, known := err.(*seal.UnknownKeyError); known {
		return problem.Wrap(err, problem.Unavailable, "the private key of enrollment %d is sealed under a key that this gateway does not have; the operator must add it", id)
	}
	return fmt.Errorf("the private key of enrollment %d: %w", id, err)
}

// Linked is what the holder of a link may know of it. It changes nothing. A link that cannot be used is NotFound.
func (r *Registrar) Linked(ctx context.Context, secret string) (*Download, *Enrollment, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	if err != nil || len(raw) != linkSize || r.Escrow.Store == nil {
		return nil, nil, errLink
	}
	d, err := r.Escrow.Store.Download(ctx, sha256.Sum256([]byte(secret)))
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, nil, errLink
	case err != nil:
		return nil, nil, err
	case !r.Now().Before(d.Expires):
		return nil, nil, errLink
	}
	e, err := r.Store.Enrollment(ctx, d.Enrollment)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, nil, errLink
	case err != nil:
		return nil, nil, err
	case e.KeyStored.IsZero() || !e.KeyStored.Equal(d.Key) || e.Org != d.Org: // destroyed, or another one, since
		return nil, nil, errLink
	}
	return d, e, r.stillMay(ctx, d, e)
}

// stillMay is nil if who made a link could make it now.
func (r *Registrar) stillMay(ctx context.Context, d *Download, e *Enrollment) error {
	if r.Escrow.Acting == nil {
		return nil
	}
	caller, err := r.Escrow.Acting(ctx, d.By)
	if problem.Is(err, problem.Unavailable) {
		return err
	}
	if err == nil {
		err = r.mayHandleKey(caller, e)
	}
	if err != nil {
		r.Log.Info("a link to a private key does not serve: who made it may not download the key any more", "enrollment", e.ID, "link of", d.By, "error", err)
		return errLink
	}
	return nil
}

// KeyFile is what a file is written of.
type KeyFile struct {
	Offer
	Key         crypto.PrivateKey // *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey
	Certificate []byte            // DER
	Issuer      string            // whose chain follows
}

// TakeDownload uses a link up: write makes the file, and once nobody else has used the link and the journal has it, that is the
// result. from is the client's address, for the journal. An error of write leaves the link as it was; write must not keep the key.
// After any other error than NotFound and Unavailable it is as it was, too; after Unavailable the link may be used up, and nothing was given out.
func (r *Registrar) TakeDownload(ctx context.Context, secret, from string, write func(KeyFile) ([]byte, error)) ([]byte, error) {
	d, e, err := r.Linked(ctx, secret)
	if err != nil {
		return nil, err
	}
	if err := r.keysKept(); err != nil {
		return nil, err
	}
	var file []byte
	err = r.keyWork.do(ctx, e.Org, func() error {
		f, err := r.openKey(ctx, e, d)
		if err == nil {
			file, err = write(f)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.useLink(ctx, d, e, from); err != nil {
		clear(file)
		return nil, err
	}
	return file, nil
}

// useLink marks a link as used, and tells the journal by whom it was made and from where it was used.
func (r *Registrar) useLink(ctx context.Context, d *Download, e *Enrollment, from string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyJournalTime)
	defer cancel()
	if err := r.Escrow.Store.UseDownload(ctx, d); problem.Is(err, problem.Conflict) {
		return errLink
	} else if err != nil {
		return err
	}
	what := fmt.Sprintf("as %s by a link of %s, from %s", d.Format, d.Created.Format(time.RFC3339), from)
	event := audit.Event{
		Kind: audit.KeyDownloaded, At: r.Now().UTC(), Actor: d.By, Org: int32(e.Org), Enrollment: int64(e.ID), Issuer: e.Issuer, Serial: string(e.Serial),
		Door: string(e.Door), Profile: e.Profile, Detail: what,
	}
	if err := r.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the download could not be journaled, and nothing was given out; the link is used up, ask for another")
	}
	r.Log.Info("a private key was downloaded", "enrollment", e.ID, "link of", d.By, "from", from, "format", d.Format)
	return nil
}

// openKey opens an enrollment's key, and holds it to the certificate.
func (r *Registrar) openKey(ctx context.Context, e *Enrollment, d *Download) (f KeyFile, err error) {
	k, err := r.Escrow.Store.PrivateKey(ctx, e.ID)
	if problem.Is(err, problem.NotFound) || err == nil && !k.At.Equal(e.KeyStored) {
		return f, errLink
	}
	if err != nil {
		return f, err
	}
	c, leaf, err := r.leaf(ctx, e)
	if err != nil {
		return f, err
	}
	der, err := r.Escrow.Sealer.Open(ctx, seal.PrivateKey, k.object(), k.Sealed)
	if err != nil {
		return f, unopened(e.ID, err)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return f, fmt.Errorf("the private key of enrollment %d, opened, is none", e.ID)
	}
	if signer, ok := key.(crypto.Signer); !ok || !isPublicOf(signer, leaf) {
		return f, fmt.Errorf("the private key of enrollment %d is another certificate's", e.ID)
	}
	f = KeyFile{Offer: d.Offer, Key: key, Certificate: c.DER, Issuer: c.Issuer}
	if len(d.Sealed) > 0 {
		password, err := r.Escrow.Sealer.Open(ctx, seal.DownloadPassword, d.object(), d.Sealed)
		if err != nil {
			return KeyFile{}, unopened(e.ID, err)
		}
		defer clear(password)
		f.Password = string(password)
	}
	return f, nil
}
