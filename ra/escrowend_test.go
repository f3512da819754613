package ra_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// TestDestroyedKey is gone, with the links to it, and can be uploaded again by who has it.
func TestDestroyedKey(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	key, err := w.take(kim, e.ID)
	must(t, err)
	secret, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
	must(t, err)
	for _, c := range []auth.Caller{kai, judge, reader} {
		if _, err := w.DestroyKey(t.Context(), c, e.ID); !problem.Is(err, problem.Unauthorized) {
			t.Errorf("%s: %v", c.Principal, err)
		}
	}
	if _, err := w.DestroyKey(t.Context(), mallet, e.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("another tenant: %v", err)
	}
	gone, err := w.DestroyKey(t.Context(), kim, e.ID)
	must(t, err)
	again, err := w.DestroyKey(t.Context(), admin, e.ID)
	must(t, err)
	if !again.KeyDestroyed.Equal(gone.KeyDestroyed) || !again.KeyStored.IsZero() || again.Phase != ra.Issued {
		t.Errorf("%+v", again)
	}
	if _, _, err := w.Linked(t.Context(), secret); !problem.Is(err, problem.NotFound) {
		t.Errorf("the link still leads somewhere: %v", err)
	}
	if _, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear); !problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), "destroyed") {
		t.Errorf("another link: %v", err)
	}
	up, err := w.UploadKey(t.Context(), kim, e.ID, key)
	must(t, err)
	if !up.KeyStored.After(gone.KeyDestroyed) {
		t.Errorf("uploaded at %s, destroyed at %s", up.KeyStored, gone.KeyDestroyed)
	}
	if _, _, err := w.Linked(t.Context(), secret); !problem.Is(err, problem.NotFound) {
		t.Errorf("a link to the key before leads to the new one: %v", err)
	}
	var kinds []audit.Kind
	for _, word := range w.words(e.ID) {
		kinds = append(kinds, word.Kind)
	}
	if want := []audit.Kind{audit.KeyStored, audit.KeyDownloaded, audit.KeyDestroyed, audit.KeyDestroyed, audit.KeyStored}; !slices.Equal(kinds, want) {
		t.Errorf("the journal says %v", kinds)
	}
}

// TestKeysEndWithTheirCertificates, some time after.
func TestKeysEndWithTheirCertificates(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	w.clock.set(e.NotAfter.Add(ra.DefaultKeyRetention))
	must(t, w.SweepKeys(t.Context()))
	if w.read(e.ID).KeyStored.IsZero() {
		t.Error("it was destroyed too early")
	}
	w.clock.add(time.Second)
	must(t, w.SweepKeys(t.Context()))
	if got := w.read(e.ID); !got.KeyStored.IsZero() || got.KeyDestroyed.IsZero() {
		t.Errorf("it is kept: %+v", got)
	}
	if words := w.words(e.ID); words[len(words)-1].Kind != audit.KeyDestroyed || words[len(words)-1].Actor != "system" {
		t.Errorf("the journal says %+v", words)
	}
}

// TestRewrappedKeys open with the new seal key alone.
func TestRewrappedKeys(t *testing.T) {
	w := newKeyWorld(t)
	e, gone := w.made("www.example.com"), w.made("gone.example.com")
	_, err := w.DestroyKey(t.Context(), kim, gone.ID)
	must(t, err)
	both := w.keeping(sealer(t, 2, 1), nil)
	if _, err := both.RewrapKeys(t.Context(), admin); !problem.Is(err, problem.Unauthorized) && !problem.Is(err, problem.NotFound) {
		t.Errorf("by an administrator: %v", err)
	}
	for _, want := range []int{1, 0} {
		if n, err := both.RewrapKeys(t.Context(), operator); err != nil || n != want {
			t.Fatalf("%d were changed, want %d: %v", n, want, err)
		}
	}
	use := auth.SealUse{Under: map[seal.KeyID]int{}}
	must(t, ra.CountSealedKeys(t.Context(), w.db, &use, sealer(t, 2)))
	if len(use.Under) != 1 || len(use.Unknown) != 0 {
		t.Errorf("%+v", use)
	}
	w.Registrar = w.keeping(sealer(t, 2), nil)
	key, err := w.take(kim, e.ID)
	must(t, err)
	w.belongs(key, e)
	w.Registrar = w.keeping(sealer(t, 3), nil)
	if _, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without the key that seals it: %v", err)
	}
}

// TestRenewedKeyIsCarriedOn: a renewal for the same key has the key as well.
func TestRenewedKeyIsCarriedOn(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	next, err := w.Renew(t.Context(), kim, ra.RenewRequest{ID: e.ID, Door: ra.DoorConsole})
	must(t, err)
	if next.ID == e.ID || next.KeyStored.IsZero() {
		t.Fatalf("%+v", next)
	}
	_, err = w.DestroyKey(t.Context(), kim, e.ID)
	must(t, err)
	key, err := w.take(kim, next.ID)
	must(t, err)
	w.belongs(key, next)

	other, err := w.Renew(t.Context(), kai, ra.RenewRequest{ID: next.ID, Door: ra.DoorConsole})
	must(t, err)
	if !other.KeyStored.IsZero() {
		t.Error("who renewed another's certificate has his key")
	}
}

// TestRemovalDestroysTheKey.
func TestRemovalDestroysTheKey(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	must(t, w.Remove(t.Context(), kim, e.ID))
	if _, err := w.db.PrivateKey(t.Context(), e.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("its key: %v", err)
	}
	if _, err := w.KeyOf(t.Context(), admin, e.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("%v", err)
	}
}

// TestNoSecretLeavesMemory: canaries are in none of the places where a key's record passes.
func TestNoSecretLeavesMemory(t *testing.T) {
	w := newKeyWorld(t)
	made := w.made("www.example.com")
	key := newKey(t)
	own := w.own("kept", key, "own.example.com")
	_, err := w.UploadKey(t.Context(), kim, own.ID, key)
	must(t, err)
	_, refused := w.UploadKey(t.Context(), kim, made.ID, key)
	waiting, err := w.Submit(t.Context(), kim, w.wanted("kept-approved", policy.RSA2048, "w.example.com"))
	must(t, err)
	_, err = w.Approve(t.Context(), judge, waiting.ID, "")
	must(t, err)
	var all [][]byte
	for _, e := range []*ra.Enrollment{made, own, waiting} {
		key, err := w.take(kim, e.ID)
		must(t, err)
		all = append(all, secrets(t, key)...)
	}
	link, _, err := w.OfferDownload(t.Context(), kim, made.ID, inClear)
	must(t, err)
	all = append(all, []byte(link))
	files := everything(t, w.dir)
	mustLack(t, "the store", files, all...)
	mustLack(t, "the journal", w.journaled(), all...)
	mustLack(t, "the log", w.log.bytes(), all...)
	mustLack(t, "an error", []byte(refused.Error()), all...)
	public, err := x509.MarshalPKIXPublicKey(w.leafOf(made).PublicKey)
	must(t, err)
	if !strings.Contains(string(files), string(public)) { // in the certificate
		t.Error("nothing at all would have been found")
	}
}

// TestKeyOutlivesACrash behind the intent, as its enrollment does, and the journal is told of it in the end.
func TestKeyOutlivesACrash(t *testing.T) {
	for _, step := range []int{8, 9} {
		w := newKeyWorld(t)
		r := dyingAfter(step)(w.world)
		for o := range w.submitting(r, kim, w.wanted("kept", policy.ECDSAP256, "www.example.com")) {
			t.Fatalf("the process lives: %+v", o)
		}
		w.step.Store(nil)
		e := w.read(1)
		if e.Phase != ra.Requested || e.KeyStored.IsZero() || len(w.words(1)) != 0 {
			t.Fatalf("a crash left %+v", e)
		}
		must(t, w.Recover(t.Context()))
		e = w.read(1)
		key, err := w.take(kim, 1)
		must(t, err)
		w.belongs(key, e)
		w.clock.add(time.Minute)
		must(t, w.SweepKeys(t.Context()))
		if words := w.words(1); words[0].Kind != audit.KeyStored || len(words[0].DER) == 0 {
			t.Errorf("the journal says %+v", words)
		}
	}
}

// TestJournalThatFailedIsTold by the sweep: nobody was told that the key is kept, and it is.
func TestJournalThatFailedIsTold(t *testing.T) {
	w := newKeyWorld(t)
	w.journal.refuse(audit.KeyStored)
	if _, err := w.Submit(t.Context(), kim, w.wanted("kept", policy.ECDSAP256, "www.example.com")); !problem.Is(err, problem.Unavailable) {
		t.Fatalf("%v", err)
	}
	w.journal.refuse("")
	for _, words := range []int{0, 1, 1} {
		must(t, w.SweepKeys(t.Context()))
		if got := len(w.words(1)); got != words {
			t.Errorf("the journal has %d words, want %d", got, words)
		}
		w.clock.add(time.Minute)
	}
}
