package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// sealKeyWithin bounds what a token may take for its first decryption.
const sealKeyWithin = time.Minute

// openSealKey opens a key-encryption key: a file, an environment variable, or an RSA key on a token, which shares what
// issuers' keys on tokens share.
func openSealKey(ref string, keys *ca.Keys) (*seal.Key, error) {
	if !strings.HasPrefix(strings.ToLower(ref), "pkcs11:") {
		return seal.LoadKey(ref)
	}
	d, err := keys.OpenDecrypter(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sealKeyWithin)
	defer cancel()
	return seal.NewTokenKey(ctx, d)
}

// newSealKey is a key-encryption key as its file holds it.
func newSealKey() []byte {
	var b [32]byte
	rand.Read(b[:])
	return []byte(base64.StdEncoding.EncodeToString(b[:]) + "\n")
}

// throwAwaySealer has the key of a throw-away gateway's folder, which is made the first time.
func throwAwaySealer(folder string) (*seal.Sealer, error) {
	path := filepath.Join(folder, "seal.key")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := newFile(path, newSealKey(), 0o600); err != nil {
			return nil, err
		}
	}
	k, err := seal.LoadKey(path)
	if err != nil {
		return nil, fmt.Errorf("the throw-away seal key: %w", err)
	}
	return seal.New(k)
}

// sealCmd holds the commands about what secrets are sealed with.
type sealCmd struct {
	List   sealListCmd   `cmd:"" help:"List the keys that secrets are sealed with, and how many are under each."`
	Rewrap sealRewrapCmd `cmd:"" help:"Put every secret under the key that seals now, so that old ones can go."`
}

// sealView is one key.
type sealView struct {
	Key     string `json:"key"`
	Role    string `json:"role"` // seals, opens, or missing
	Secrets int    `json:"secrets"`
}

func (a *admin) sealList(caller auth.Caller, r *http.Request) (any, error) {
	use, err := a.external.SealUse(r.Context())
	if err != nil {
		return nil, err
	}
	if err := ra.CountSealedKeys(r.Context(), a.registrar.Escrow.Store, &use, a.registrar.Escrow.Sealer); err != nil {
		return nil, err
	}
	return sealViews(use), nil
}

func sealViews(use auth.SealUse) []sealView {
	list := []sealView{}
	for i, id := range use.Keys {
		role := "opens"
		if i == 0 {
			role = "seals"
		}
		list = append(list, sealView{id.String(), role, use.Under[id]})
	}
	for _, id := range use.Unknown {
		list = append(list, sealView{id.String(), "missing", use.Under[id]})
	}
	return list
}

func (a *admin) sealRewrap(caller auth.Caller, r *http.Request) (any, error) {
	if err := noBody(r); err != nil {
		return nil, err
	}
	n, err := a.external.Rewrap(r.Context(), caller)
	if err != nil {
		return nil, err
	}
	passwords, err := a.principals.Rewrap(r.Context(), caller)
	if err != nil {
		return nil, err
	}
	keys, err := a.registrar.RewrapKeys(r.Context(), caller)
	return map[string]int{"rewrapped": n + passwords + keys}, err
}

type sealListCmd struct{ adminFlags }

func (c *sealListCmd) Run(ctx context.Context, s streams) error {
	var list []sealView
	if err := c.call(ctx, "GET", "/seal", nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	return printTable(s.out, list, "no key is configured, and nothing is sealed", "KEY | ROLE | SECRETS", func(k sealView) []any {
		return []any{k.Key, k.Role, k.Secrets}
	})
}

type sealRewrapCmd struct{ adminFlags }

func (c *sealRewrapCmd) Run(ctx context.Context, s streams) error {
	var done map[string]int
	if err := c.call(ctx, "POST", "/seal/rewrap", nil, &done); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, done)
	}
	_, err := fmt.Fprintf(s.out, "%d secrets are under the key that seals now\n", done["rewrapped"])
	return err
}
