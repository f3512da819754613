package ra_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// wrongCodes are what somebody tries who has a link without its code.
func wrongCode(i int) string {
	raw := [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// TestWrongCodesLock: after a few the validation is over, the right code included, and that is told and kept.
func TestWrongCodesLock(t *testing.T) {
	w := newEmailWorld(t)
	list := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
	events := len(w.journal.events)
	for i := range ra.MaxWrongCodes {
		_, err := w.press(letter{ID: list[i%2].ID, Code: wrongCode(i)})
		wantKind(t, err, problem.Unauthorized)
	}
	if n := len(w.journal.events) - events; n != 1 {
		t.Errorf("the journal was told %d times", n)
	}
	for _, l := range list {
		if q, err := w.press(l); err != nil || q.State != ra.EmailLocked || w.record("example.com").Proof != nil {
			t.Errorf("the right code: %+v, %v", q, err)
		}
	}
	if back, err := ra.DomainFromEvent(w.last()); err != nil || back.Email.State(start) != ra.EmailLocked {
		t.Errorf("the journal says %+v, %v", back.Email, err)
	}
	if _, err := w.ResendEmail(t.Context(), operator, "example.com", nil); !problem.Is(err, problem.Conflict) {
		t.Errorf("sent again: %v", err)
	}
	w.confirms(w.asked("example.com", "main", "admin@example.com")[0]) // begun anew
}

// TestWrongCodesFromEverywhere: a long run of wrong codes, from one address and from many, is refused and leaves the store as it
// was.
func TestWrongCodesFromEverywhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	engine, err := embedded.Open(embedded.Config{Dir: dir})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w := emailOver(t, domainsOver(t, newWorldOn(t, engine)))
	d := w.gateway(w.db)
	l := w.asked("example.com", "main", "admin@example.com")[0]
	size := func() int64 {
		var sum int64
		must(t, filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				sum += info.Size()
			}
			return err
		}))
		return sum
	}
	before, kinds := size(), map[problem.Kind]int{}
	const tries = 50_000
	for i := range tries {
		from := here
		if i%5 == 0 {
			from = netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
		}
		q, err := d.AnswerEmail(t.Context(), ra.EmailAnswer{ID: l.ID, Code: wrongCode(i), From: from})
		switch {
		case err != nil:
			kinds[problem.From(err).Kind]++
		case q.State == ra.EmailConfirmed:
			t.Fatalf("the code %d passes", i)
		}
	}
	if kinds[problem.Unauthorized] > ra.MaxWrongCodes || kinds[problem.RateLimited] < tries*9/10 || w.record("example.com").Proof != nil {
		t.Errorf("%v", kinds)
	}
	if after := size(); after > before+1<<20 {
		t.Errorf("the store grew from %d to %d", before, after)
	}
}

// TestTwoClicksAtOnce, at two gateways, at two addresses, confirming and rejecting: one of them decides.
func TestTwoClicksAtOnce(t *testing.T) {
	for round := range 8 {
		w := newEmailWorld(t)
		list := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
		gateways := []*ra.Domains{w.Domains, w.gateway(w.tries)}
		events := len(w.journal.events)
		var wg sync.WaitGroup
		answers := make([]*ra.EmailQuestion, 8)
		errs := make([]error, len(answers))
		for i := range answers {
			wg.Go(func() {
				l := list[i/2%2]
				answers[i], errs[i] = gateways[i%2].AnswerEmail(t.Context(), ra.EmailAnswer{ID: l.ID, Code: l.Code, Reject: round%2 == 1 && i%4 < 2, From: here})
			})
		}
		wg.Wait()
		d := w.record("example.com")
		for i, q := range answers {
			if errs[i] != nil || q.State != d.Email.Outcome {
				t.Errorf("%d: %+v, %v", i, q, errs[i])
			}
		}
		if n := len(w.journal.events) - events; n != 1 || (d.Proof != nil) != (d.Email.Outcome == ra.EmailConfirmed) || d.Email.Outcome == ra.EmailPending {
			t.Errorf("%d entries, %+v", n, d.Email)
		}
	}
}

// TestAClickAgainstAChange: a mail whose domain is removed, given away, begun anew, sent again or answered by somebody else at the
// very moment of the answer, by another gateway.
func TestAClickAgainstAChange(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *emailWorld, other *ra.Domains) error
		kind   problem.Kind    // of the error, if there is to be one
		state  ra.EmailOutcome // else
	}{
		"removed": {func(w *emailWorld, other *ra.Domains) error {
			return second(other.Remove(w.t.Context(), operator, "example.com"))
		}, problem.NotFound, ""},
		"given away": {func(w *emailWorld, other *ra.Domains) error {
			return errors.Join(second(other.Remove(w.t.Context(), operator, "example.com")), second(other.Add(w.t.Context(), operator, "example.com", "other")))
		}, problem.NotFound, ""},
		"another method": {func(w *emailWorld, other *ra.Domains) error {
			return second(other.Validate(w.t.Context(), operator, "example.com", dcv.DNSTXT))
		}, problem.NotFound, ""},
		"sent again": {func(w *emailWorld, other *ra.Domains) error {
			return second(other.ResendEmail(w.t.Context(), operator, "example.com", nil))
		}, problem.Unauthorized, ""},
		"rejected": {func(w *emailWorld, other *ra.Domains) error {
			l := w.record("example.com").Email.Links[0]
			return second(other.AnswerEmail(w.t.Context(), ra.EmailAnswer{ID: l.ID, Code: w.code(l.Code), Reject: true, From: here}))
		}, 0, ra.EmailRejected},
		"expired": {func(w *emailWorld, _ *ra.Domains) error { w.clock.add(ra.DefaultEmailLifetime); return nil }, 0, ra.EmailExpired},
	} {
		w := newEmailWorld(t)
		l := w.asked("example.com", "main", "admin@example.com")[0]
		other := w.gateway(w.tries)
		w.tries.before = func() { must(t, row.change(w, other)) }
		q, err := w.press(l)
		if row.state == "" && !problem.Is(err, row.kind) || row.state != "" && (err != nil || q.State != row.state) || w.record("example.com").Proof != nil {
			t.Errorf("%s: %+v, %v, %+v", name, q, err, w.record("example.com").Proof)
		}
	}
}

// TestTheJournalComesFirst: what the journal does not have is not acknowledged.
func TestTheJournalComesFirst(t *testing.T) {
	w := newEmailWorld(t)
	l := w.asked("example.com", "main", "admin@example.com")[0]
	w.journal.refuse("domain-changed")
	if q, err := w.press(l); err == nil {
		t.Errorf("%+v", q)
	}
	w.journal.refuse("")
	w.clock.add(time.Minute)
	must(t, w.Settle(t.Context(), false))
	if back, err := ra.DomainFromEvent(w.last()); err != nil || back.Proof == nil || back.Email.Outcome != ra.EmailConfirmed {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestCodesAreNowhere but in the mails: not in the store, the journal or the log, in clear, in hex or in base64.
func TestCodesAreNowhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	engine, err := embedded.Open(embedded.Config{Dir: dir})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w := emailOver(t, domainsOver(t, newWorldOn(t, engine)))
	list := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
	_, err = w.ValidateByEmail(t.Context(), operator, "example.com", []string{"admin@example.com"})
	must(t, err)
	queued := w.letters() // which stay so
	_, err = w.ResendEmail(t.Context(), operator, "example.com", nil)
	must(t, err)
	_, err = w.press(letter{ID: list[0].ID, Code: list[0].Code})
	wantKind(t, err, problem.NotFound)
	fresh := slices.DeleteFunc(w.letters(), func(l letter) bool { return slices.Contains(queued, l) })
	if len(fresh) != 1 {
		t.Fatalf("sent again: %+v", fresh)
	}
	w.confirms(fresh[0])
	if len(w.codes) < 4 {
		t.Fatalf("only %d codes", len(w.codes))
	}
	places := map[string][]byte{"the journal": w.said()}
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			places[path], err = os.ReadFile(path)
		}
		return err
	}))
	for code := range w.codes {
		raw, err := base64.RawURLEncoding.DecodeString(code)
		must(t, err)
		for _, form := range []string{code, string(raw), hex.EncodeToString(raw), hex.EncodeToString([]byte(code)), base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString([]byte(code))} {
			for place, content := range places {
				if bytes.Contains(content, []byte(form)) {
					t.Errorf("%s has the code as %s", place, form)
				}
			}
		}
	}
	if len(places) < 2 || !bytes.Contains(places["the journal"], []byte(list[0].ID)) {
		t.Error("the search finds nothing at all")
	}
}

// TestOneAddressOneCounter: whoever tries unknown links leaves a counter for its network and no more.
func TestOneAddressOneCounter(t *testing.T) {
	w := newEmailWorld(t)
	for i := range 100 {
		_, err := w.AnswerEmail(t.Context(), ra.EmailAnswer{ID: wrongCode(i), Code: "x", From: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})})
		wantKind(t, err, problem.NotFound)
	}
	if len(w.tries.tried) != 1 || w.tries.tried["email-from/"+auth.NetworkOf(netip.MustParseAddr("2001:db8::1"))] != 100 {
		t.Errorf("%v", w.tries.tried)
	}
}
