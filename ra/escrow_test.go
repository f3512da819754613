package ra_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// TestKeysMadeHere of each kind are the certificate's, and the journal has them when the answer goes out.
func TestKeysMadeHere(t *testing.T) {
	w := newKeyWorld(t)
	for _, kind := range []policy.KeyType{policy.RSA2048, policy.ECDSAP256, policy.ECDSAP384, policy.ECDSAP521, policy.Ed25519} {
		e, err := w.Submit(t.Context(), kim, w.wanted("kept", kind, "www.example.com", "a.example.com"))
		must(t, err)
		k, err := w.KeyOf(t.Context(), kim, e.ID)
		must(t, err)
		if k.Type != kind || k.Origin != ra.KeyMade || k.By != kim.Principal || !k.At.Equal(e.KeyStored) || e.Key != nil {
			t.Errorf("%s: a key of type %s, %s, by %s at %s of an enrollment that has it since %s, still in memory: %t", kind, k.Type, k.Origin, k.By, k.At, e.KeyStored, e.Key != nil)
		}
		words := w.words(e.ID)
		if len(words) != 1 || words[0].Kind != audit.KeyStored || words[0].Serial != string(e.Serial) || len(words[0].DER) == 0 || words[0].Actor != kim.Principal {
			t.Errorf("%s: the journal says %+v", kind, words)
		}
		key, err := w.take(kim, e.ID)
		must(t, err)
		w.belongs(key, e)
		if kept := w.leafOf(e).DNSNames; !slices.Equal(kept, []string{"a.example.com", "www.example.com"}) {
			t.Errorf("%s: the certificate is for %v", kind, kept)
		}
	}
	if got := w.read(1); got.KeyStored.IsZero() || got.Key != nil {
		t.Errorf("the store gives %+v", got)
	}
}

// TestKeyMakingRefuses, and leaves nothing behind.
func TestKeyMakingRefuses(t *testing.T) {
	w := newKeyWorld(t)
	unsealed := w.keeping(nil, nil)
	none := w.keeping(sealer(t, 1), func(c *ra.Config) { c.Escrow.Store = nil })
	want := func(profile string, kind policy.KeyType, names ...string) ra.Request {
		return w.wanted(profile, kind, names...)
	}
	both := want("kept", policy.ECDSAP256, "www.example.com")
	both.CSR = []byte{0x30}
	for name, tt := range map[string]struct {
		by     *ra.Registrar
		caller auth.Caller
		req    ra.Request
		kind   problem.Kind
		says   string
	}{
		"no seal key":               {unsealed, kim, want("kept", policy.ECDSAP256, "www.example.com"), problem.Conflict, "seal: {key:"},
		"no store":                  {none, kim, want("kept", policy.ECDSAP256, "www.example.com"), problem.Conflict, "seal: {key:"},
		"a profile without":         {w.Registrar, kim, want("tls", policy.ECDSAP256, "www.example.com"), problem.Unauthorized, "server_keys"},
		"a type that is not its":    {w.Registrar, kim, want("kept", policy.RSA4096, "www.example.com"), problem.Malformed, "key: "},
		"no type at all":            {w.Registrar, kim, want("kept", "dsa", "www.example.com"), problem.Malformed, "key: "},
		"a CSR as well":             {w.Registrar, kim, both, problem.Malformed, "CSR"},
		"no names":                  {w.Registrar, kim, want("kept", policy.ECDSAP256), problem.Malformed, "names"},
		"a name that is not its":    {w.Registrar, kim, want("kept", policy.ECDSAP256, "www.example.org"), problem.RejectedIdentifier, "example.org"},
		"an auditor":                {w.Registrar, reader, want("kept", policy.ECDSAP256, "www.example.com"), problem.Unauthorized, "request"},
		"an approver":               {w.Registrar, judge, want("kept", policy.ECDSAP256, "www.example.com"), problem.Unauthorized, "request"},
		"another organisation":      {w.Registrar, mallet, ra.Request{Door: ra.DoorConsole, Org: 2, Profile: "kept", Key: policy.ECDSAP256, Names: ids(t, "a.example.com")}, problem.NotFound, ""},
		"a journal that is away":    {w.keeping(sealer(t, 1), func(c *ra.Config) { c.Journal = nil }), kim, want("kept", policy.ECDSAP256, "www.example.com"), problem.Conflict, ""},
		"a requester who has ended": {w.Registrar, auth.Caller{Principal: "user:99", Org: 2}, want("kept", policy.ECDSAP256, "www.example.com"), problem.NotFound, ""},
	} {
		e, err := tt.by.Submit(t.Context(), tt.caller, tt.req)
		if e != nil || !problem.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	w.recordsNothing()
}

func (w *keyWorld) recordsNothing() {
	w.t.Helper()
	keys, err := w.db.PrivateKeys(w.t.Context(), 0, 10)
	must(w.t, err)
	found, err := w.Search(w.t.Context(), operator, ra.Query{Limit: 10})
	must(w.t, err)
	if len(keys) != 0 || found.Total != 0 {
		w.t.Errorf("%d keys and %d enrollments were recorded", len(keys), found.Total)
	}
}

// TestKeyWorkIsBounded: so many keys are made at once, and who waits too long is told to come again and keeps his link.
func TestKeyWorkIsBounded(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	r := w.keeping(sealer(t, 1), func(c *ra.Config) { c.Escrow.AtOnce, c.Escrow.Wait = 2, 5*time.Millisecond })
	// take comes again for as long as it is told to: on a machine that is busy a turn that is free may be missed.
	take := func(secret string, write func()) error {
		for {
			_, err := r.TakeDownload(t.Context(), secret, "", func(ra.KeyFile) ([]byte, error) {
				write()
				return nil, nil
			})
			if !problem.Is(err, problem.Unavailable) || t.Context().Err() != nil {
				return err
			}
		}
	}
	var secrets []string
	for range 5 {
		secret, _, err := r.OfferDownload(t.Context(), kim, e.ID, inClear)
		must(t, err)
		secrets = append(secrets, secret)
	}
	inside, release := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	for _, secret := range secrets[:2] {
		wg.Go(func() {
			if err := take(secret, func() { inside <- true; <-release }); err != nil {
				t.Errorf("one of the two: %v", err)
			}
		})
	}
	<-inside
	<-inside
	for _, secret := range secrets[2:] {
		_, err := r.TakeDownload(t.Context(), secret, "", func(ra.KeyFile) ([]byte, error) {
			t.Error("a third is inside")
			return nil, nil
		})
		if !problem.Is(err, problem.Unavailable) {
			t.Errorf("a third: %v", err)
		}
	}
	close(release)
	wg.Wait()
	for _, secret := range secrets[2:] {
		must(t, take(secret, func() {}))
	}
}

// TestKeyOfARequestThatWaits is there with it, is the certificate's once that is approved, and goes with it if it is declined or lapses.
func TestKeyOfARequestThatWaits(t *testing.T) {
	w := newKeyWorld(t)
	ask := func(name string) *ra.Enrollment {
		t.Helper()
		e, err := w.Submit(t.Context(), kim, w.wanted("kept-approved", policy.ECDSAP256, name))
		must(t, err)
		if e.Phase != ra.Waiting || e.KeyStored.IsZero() {
			t.Fatalf("%+v", e)
		}
		if words := w.words(e.ID); len(words) != 1 || words[0].Kind != audit.KeyStored || words[0].DER != nil {
			t.Errorf("the journal says %+v", words)
		}
		if _, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear); !problem.Is(err, problem.Conflict) {
			t.Errorf("a link to a key without a certificate: %v", err)
		}
		return e
	}
	good := ask("a.example.com")
	_, err := w.Approve(t.Context(), judge, good.ID, "")
	must(t, err)
	good = w.read(good.ID)
	key, err := w.take(kim, good.ID)
	must(t, err)
	w.belongs(key, good)
	if words := w.words(good.ID); len(words) != 3 || words[1].Kind != audit.KeyStored || len(words[1].DER) == 0 {
		t.Errorf("the journal says %+v", words)
	}

	declined := ask("b.example.com")
	_, err = w.Decline(t.Context(), judge, declined.ID, "no")
	must(t, err)
	lapsed := ask("c.example.com")
	w.clock.set(lapsed.Due)
	must(t, w.Sweep(t.Context()))
	for _, e := range []*ra.Enrollment{declined, lapsed} {
		now := w.read(e.ID)
		if _, err := w.db.PrivateKey(t.Context(), e.ID); !problem.Is(err, problem.NotFound) || !now.KeyStored.IsZero() || now.KeyDestroyed.IsZero() {
			t.Errorf("%+v still has a key: %v", now, err)
		}
	}
	w.clock.add(time.Minute)
	must(t, w.SweepKeys(t.Context()))
	for _, e := range []*ra.Enrollment{declined, lapsed} {
		if words := w.words(e.ID); len(words) != 2 || words[1].Kind != audit.KeyDestroyed {
			t.Errorf("the journal says %+v", words)
		}
	}
}

// TestUploadedKey is kept if it is the certificate's.
func TestUploadedKey(t *testing.T) {
	w := newKeyWorld(t)
	key := newKey(t)
	e := w.own("kept", key, "www.example.com")
	if _, err := w.KeyOf(t.Context(), kim, e.ID); !problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), "CSR") {
		t.Errorf("without a key: %v", err)
	}
	up, err := w.UploadKey(t.Context(), kim, e.ID, key)
	must(t, err)
	got, err := w.take(kim, e.ID)
	must(t, err)
	w.belongs(got, e)
	k, err := w.KeyOf(t.Context(), admin, e.ID)
	must(t, err)
	if k.Origin != ra.KeyUploaded || k.Type != policy.ECDSAP256 || !k.At.Equal(up.KeyStored) {
		t.Errorf("%+v", k)
	}
	again, err := w.UploadKey(t.Context(), admin, e.ID, key)
	must(t, err)
	if !again.KeyStored.Equal(up.KeyStored) {
		t.Error("the same key is another one")
	}
	if k, err = w.KeyOf(t.Context(), kim, e.ID); err != nil || k.By != kim.Principal {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestUploadRefuses(t *testing.T) {
	w := newKeyWorld(t)
	key := newKey(t)
	e, off := w.own("kept", key, "www.example.com"), w.issue(alice, "other.example.com")
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, edKey, err := ed25519.GenerateKey(nil)
	must(t, err)
	for name, tt := range map[string]struct {
		caller auth.Caller
		id     ra.ID
		key    any
		kind   problem.Kind
	}{
		"another key":          {kim, e.ID, newKey(t), problem.Malformed},
		"an RSA key":           {kim, e.ID, big, problem.Malformed},
		"an Ed25519 key":       {kim, e.ID, edKey, problem.Malformed},
		"no key":               {kim, e.ID, "key", problem.Malformed},
		"nothing":              {kim, e.ID, nil, problem.Malformed},
		"an absent enrollment": {kim, 999, key, problem.NotFound},
		"a colleague":          {kai, e.ID, key, problem.Unauthorized},
		"an approver":          {judge, e.ID, key, problem.Unauthorized},
		"an auditor":           {reader, e.ID, key, problem.Unauthorized},
		"another tenant":       {mallet, e.ID, key, problem.NotFound},
		"an account":           {alice, e.ID, key, problem.NotFound},
		"a profile without":    {admin, off.ID, key, problem.Unauthorized},
	} {
		if _, err := w.UploadKey(t.Context(), tt.caller, tt.id, tt.key); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.keeping(nil, nil).UploadKey(t.Context(), kim, e.ID, key); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without a seal key: %v", err)
	}
	must(t, w.Revoke(t.Context(), kim, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: 4}))
	if _, err := w.UploadKey(t.Context(), kim, e.ID, key); !problem.Is(err, problem.Conflict) {
		t.Errorf("after a revocation: %v", err)
	}
	if words := w.words(e.ID); len(words) != 0 {
		t.Errorf("the journal says %+v", words)
	}
}
