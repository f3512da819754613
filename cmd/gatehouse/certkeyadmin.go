package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// storedKeyView is what the operator's commands show of a private key that is kept: nothing secret.
type storedKeyView struct {
	Enrollment int64     `json:"enrollment"`
	Origin     string    `json:"origin"`
	By         string    `json:"by"`
	Stored     time.Time `json:"stored"`
	Type       string    `json:"type"`
	Public     string    `json:"publicKeySha256"`
}

// keyUpload is a private key as it is sent.
type keyUpload struct {
	Key      []byte `json:"key"` // PEM or DER
	Password string `json:"password,omitempty"`
}

// keyOffer asks for a link.
type keyOffer struct {
	Format  string `json:"format,omitempty"`
	Content string `json:"content,omitempty"`
	Clear   bool   `json:"clear,omitempty"`
}

// keyLinkView is a link. It is shown once.
type keyLinkView struct {
	Link    string    `json:"link"`
	Format  string    `json:"format"`
	Content string    `json:"content,omitempty"`
	Expires time.Time `json:"expires"`
}

func (a *admin) pathID(r *http.Request) (ra.ID, error) {
	id := 0
	err := number(r.PathValue("id"), "id", &id)
	return ra.ID(id), err
}

func (a *admin) storedKeyGet(caller auth.Caller, r *http.Request) (any, error) {
	id, err := a.pathID(r)
	if err != nil {
		return nil, err
	}
	return a.viewStoredKey(caller, r, id)
}

func (a *admin) viewStoredKey(caller auth.Caller, r *http.Request, id ra.ID) (any, error) {
	k, err := a.registrar.KeyOf(r.Context(), caller, id)
	if err != nil {
		return nil, err
	}
	return storedKeyView{
		Enrollment: int64(id), Origin: k.Origin.String(), By: k.By, Stored: k.At, Type: string(k.Type), Public: hex.EncodeToString(k.Public[:]),
	}, nil
}

func (a *admin) storedKeyUpload(caller auth.Caller, r *http.Request) (any, error) {
	id, err := a.pathID(r)
	if err != nil {
		return nil, err
	}
	var in keyUpload
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	defer clear(in.Key)
	key, err := bundle.ParseKey(in.Key, []byte(in.Password))
	if err != nil {
		return nil, err
	}
	if _, err := a.registrar.UploadKey(r.Context(), caller, id, key); err != nil {
		return nil, err
	}
	return a.viewStoredKey(caller, r, id)
}

func (a *admin) storedKeyLink(caller auth.Caller, r *http.Request) (any, error) {
	id, err := a.pathID(r)
	if err != nil {
		return nil, err
	}
	var in keyOffer
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	offer, err := console.ParseOffer(in.Format, in.Content, in.Clear)
	if err != nil {
		return nil, err
	}
	secret, d, err := a.registrar.OfferDownload(r.Context(), caller, id, offer)
	if err != nil {
		return nil, err
	}
	return keyLinkView{Link: a.publicURL + console.DownloadPath + secret, Format: d.Format, Content: d.Content, Expires: d.Expires}, nil
}

func (a *admin) storedKeyDestroy(caller auth.Caller, r *http.Request) (any, error) {
	id, err := a.pathID(r)
	if err != nil {
		return nil, err
	}
	if err := noBody(r); err != nil {
		return nil, err
	}
	e, err := a.registrar.DestroyKey(r.Context(), caller, id)
	if err != nil {
		return nil, err
	}
	return map[string]time.Time{"destroyed": e.KeyDestroyed}, nil
}

// escrow is where private keys are kept.
func (c *core) escrow() ra.Escrow {
	e := c.settings.escrow
	e.Store, e.Sealer, e.Acting = c.db, c.settings.sealer, c.acting
	return e
}

// acting is the caller that the maker of a link is now.
func (c *core) acting(ctx context.Context, principal string) (auth.Caller, error) {
	if id, ok := auth.ParsePrincipalID(principal); ok {
		return c.principals.Acting(ctx, ra.Operator("system"), auth.Ref{ID: id})
	}
	if strings.HasPrefix(principal, operatorPrefix) { // of the machine
		return ra.Operator(principal), nil
	}
	return auth.Caller{}, problem.New(problem.Unauthorized, "%q is nobody who makes links", principal)
}

// openDownloads makes the pages behind links to private keys.
func (c *core) openDownloads() (http.Handler, error) {
	pages, err := console.NewDownloads(console.DownloadsConfig{
		Keys: c.registrar, Chain: c.chain,
		Remote: func(r *http.Request) netip.Addr {
			peer, _ := netip.ParseAddrPort(r.RemoteAddr)
			return peer.Addr()
		},
		Observe: func(ctx context.Context, page string, err error) {
			event := web.Event(ctx)
			event.Endpoint(page)
			event.Problem(err)
		},
	})
	if err != nil {
		return nil, err
	}
	return pages.Handler(), nil
}

// checkSealedKeys refuses a start whose configuration lacks the key that private keys are sealed under, as checkSealKeys does with
// other secrets. It looks at the first: those that a new seal key has been missed for.
func (c *core) checkSealedKeys(ctx context.Context) error {
	use := auth.SealUse{Under: map[seal.KeyID]int{}}
	keys, err := c.db.PrivateKeys(ctx, 0, sealedLook)
	if err != nil {
		return fmt.Errorf("reading what is sealed: %w", err)
	}
	for _, k := range keys {
		if err := use.Count(c.settings.sealer, "a private key", k.Sealed); err != nil {
			return fmt.Errorf("the private key of enrollment %d: %w", k.Enrollment, err)
		}
	}
	if len(use.Unknown) > 0 {
		return fmt.Errorf("private keys of the store are sealed under the key %s, which is not configured; name that key in key or old of seal: {key: FILE, old: [FILE]}", use.Unknown[0])
	}
	return nil
}
