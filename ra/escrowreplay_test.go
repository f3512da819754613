package ra_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// given is a new world with some entries of a journal in this sequence, each a journal of its own.
func (w *keyWorld) given(events ...audit.Event) *keyWorld {
	w.t.Helper()
	n := newKeyWorld(w.t)
	n.clock.set(w.clock.now())
	for range 2 { // the second time nothing is new
		for _, e := range events {
			must(w.t, n.replay([]audit.Event{e}, nil))
		}
	}
	return n
}

// hasKey reports whether the enrollment of a certificate has its key, and demands that the store is of one mind about it.
func (w *keyWorld) hasKey(of *ra.Enrollment) bool {
	w.t.Helper()
	found, err := w.BySerial(w.t.Context(), operator, of.Serial)
	must(w.t, err)
	e := found[0]
	_, err = w.db.PrivateKey(w.t.Context(), e.ID)
	if e.KeyStored.IsZero() != problem.Is(err, problem.NotFound) || err != nil && !problem.Is(err, problem.NotFound) {
		w.t.Errorf("the enrollment says %s, and the key is %v", e.KeyStored, err)
	}
	if e.KeyStored.IsZero() {
		return false
	}
	key, err := w.take(operator, e.ID)
	must(w.t, err)
	w.belongs(key, e)
	return true
}

// permutations are all sequences of some entries.
func permutations(list []audit.Event) (all [][]audit.Event) {
	if len(list) <= 1 {
		return [][]audit.Event{list}
	}
	for i := range list {
		rest := slices.Delete(slices.Clone(list), i, i+1)
		for _, p := range permutations(rest) {
			all = append(all, append([]audit.Event{list[i]}, p...))
		}
	}
	return all
}

// TestReplayedKeys: one word is enough for certificate and key, and a key that was destroyed does not come back, in whichever
// sequence the journals of several gateways are replayed.
func TestReplayedKeys(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	made := w.words(e.ID)[0]
	key, err := w.take(kim, e.ID)
	must(t, err)
	w.clock.add(time.Minute)
	_, err = w.keeping(sealer(t, 1, 2), nil).RewrapKeys(t.Context(), operator)
	must(t, err)
	_, err = w.DestroyKey(t.Context(), kim, e.ID)
	must(t, err)
	destroyed := w.words(e.ID)[2]
	w.clock.add(time.Minute)
	_, err = w.UploadKey(t.Context(), kim, e.ID, key)
	must(t, err)
	uploaded := w.words(e.ID)[3]
	if made.Kind != audit.KeyStored || destroyed.Kind != audit.KeyDestroyed || uploaded.Kind != audit.KeyStored {
		t.Fatalf("the journal says %s, %s, %s", made.Kind, destroyed.Kind, uploaded.Kind)
	}
	var signed audit.Event
	for _, said := range w.journal.events {
		if said.Kind == audit.Signed {
			signed = said
		}
	}
	for name, tt := range map[string]struct {
		events []audit.Event
		has    bool
	}{
		"made":                               {[]audit.Event{made}, true},
		"signed, made":                       {[]audit.Event{signed, made}, true},
		"destroyed":                          {[]audit.Event{destroyed}, false},
		"signed, made, destroyed":            {[]audit.Event{signed, made, destroyed}, false},
		"made, destroyed, uploaded":          {[]audit.Event{made, destroyed, uploaded}, true},
		"signed, made, destroyed, uploaded":  {[]audit.Event{signed, made, destroyed, uploaded}, true},
		"uploaded, though destroyed is lost": {[]audit.Event{made, uploaded}, true},
	} {
		for _, order := range permutations(tt.events) {
			if got := w.given(order...).hasKey(e); got != tt.has {
				var kinds []audit.Kind
				for _, said := range order {
					kinds = append(kinds, said.Kind)
				}
				t.Errorf("%s, as %v: has a key is %t", name, kinds, got)
			}
		}
	}
}

// TestReplayedRewrap: of two envelopes of one key the later holds.
func TestReplayedRewrap(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	if _, err := w.keeping(sealer(t, 2, 1), nil).RewrapKeys(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	words := w.words(e.ID)
	for _, order := range permutations(words) {
		n := w.given(order...)
		n.Registrar = n.keeping(sealer(t, 2), nil)
		if !n.hasKey(e) {
			t.Error("the key is gone")
		}
	}
}

// TestReplayedKeyUnderAnotherNumber: the enrollment comes back under another number, and its key opens all the same.
func TestReplayedKeyUnderAnotherNumber(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	n := newKeyWorld(t)
	others := n.made("other.example.com")
	if others.ID != e.ID {
		t.Fatalf("the numbers are %d and %d", others.ID, e.ID)
	}
	must(t, n.replay(w.journal.events, nil))
	found, err := n.BySerial(t.Context(), kim, e.Serial)
	must(t, err)
	if found[0].ID == e.ID || !n.hasKey(e) || !n.hasKey(others) {
		t.Errorf("it came back as %+v", found[0].ID)
	}
}

// TestReplayedKeyOfWhatIsGone: neither what was removed nor what nobody was given has a key again.
func TestReplayedKeyOfWhatIsGone(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	must(t, w.Remove(t.Context(), kim, e.ID))
	var removed, made audit.Event
	for _, said := range w.journal.events {
		switch said.Kind {
		case audit.KeyStored:
			made = said
		case audit.EnrollmentRemoved:
			removed = said
		}
	}
	for _, order := range permutations([]audit.Event{made, removed}) {
		n := w.given(order...)
		keys, err := n.db.PrivateKeys(t.Context(), 0, 10)
		must(t, err)
		if len(keys) != 0 {
			t.Errorf("after %s the key of a removed enrollment is there", order[0].Kind)
		}
	}
	n := newKeyWorld(t)
	r := n.db.Replay(map[string]bool{made.Issuer + "/" + made.Serial: true})
	must(t, r.Apply(t.Context(), made))
	must(t, r.End(t.Context()))
	n.recordsNothing()
}

// TestReplayedKeyOfWhatIsForgotten changes nothing: of what was revoked and removed the certificate stays, its enrollment does not.
func TestReplayedKeyOfWhatIsForgotten(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	must(t, w.Revoke(t.Context(), kim, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: 4}))
	must(t, w.Remove(t.Context(), kim, e.ID))
	w.clock.set(w.read(e.ID).RemovedUntil().Add(time.Second))
	must(t, w.ForgetRemoved(t.Context()))
	if _, err := w.db.Enrollment(t.Context(), e.ID); !problem.Is(err, problem.NotFound) {
		t.Fatalf("it is still there: %v", err)
	}
	for _, said := range w.words(e.ID) {
		must(t, w.replay([]audit.Event{said}, nil))
	}
	if keys, err := w.db.PrivateKeys(t.Context(), 0, 10); err != nil || len(keys) != 0 {
		t.Errorf("%d keys came back: %v", len(keys), err)
	}
}

// TestReplayedKeyOfADamagedStore: where the enrollment says that it has a key and there is none, the journal's is put back.
func TestReplayedKeyOfADamagedStore(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	must(t, w.engine.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Deletes: []storage.Key{"key/1"}}))
	if _, err := w.db.PrivateKey(t.Context(), e.ID); !problem.Is(err, problem.NotFound) {
		t.Fatalf("it is still there: %v", err)
	}
	must(t, w.replay(w.words(e.ID), nil))
	if !w.hasKey(e) {
		t.Error("the key is gone")
	}
}
