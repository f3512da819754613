package ra_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// offered makes links to a key, oldest first.
func (w *keyWorld) offered(id ra.ID, n int) (secrets []string) {
	w.t.Helper()
	for range n {
		secret, _, err := w.OfferDownload(w.t.Context(), kim, id, inClear)
		must(w.t, err)
		secrets = append(secrets, secret)
	}
	return secrets
}

// serving are which of links can be used.
func (w *keyWorld) serving(secrets []string) (list []int) {
	w.t.Helper()
	for i, s := range secrets {
		if _, _, err := w.Linked(w.t.Context(), s); err == nil {
			list = append(list, i)
		} else if !problem.Is(err, problem.NotFound) {
			w.t.Errorf("link %d: %v", i, err)
		}
	}
	return list
}

// TestNewestLinksServe: who asks again and again has the newest links, of each key.
func TestNewestLinksServe(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	one, two := w.made("a.example.com"), w.made("b.example.com")
	other := w.offered(two.ID, 1)
	links := w.offered(one.ID, ra.NewestLinks+3)
	if got := w.serving(links); len(got) != ra.NewestLinks || got[0] != 3 {
		t.Errorf("of %d links these serve: %v", len(links), got)
	}
	if len(w.serving(other)) != 1 {
		t.Error("the link to another key is void")
	}
	// A used one gives its place to nobody, and what has expired takes none.
	_, err := w.TakeDownload(t.Context(), links[4], "", file)
	must(t, err)
	w.clock.add(ra.DefaultLinkLifetime - time.Second)
	young := w.offered(one.ID, 2)
	if got := w.serving(slices.Concat(links[3:], young)); len(got) != ra.NewestLinks || got[0] != 2 {
		t.Errorf("these serve: %v", got)
	}
	w.clock.add(time.Second)
	later := w.offered(one.ID, ra.NewestLinks-2)
	if got := w.serving(slices.Concat(young, later)); len(got) != ra.NewestLinks {
		t.Errorf("of the young and the later these serve: %v", got)
	}
}

// TestLinksAtOnce: of many that are made at once as many serve as ever may.
func TestLinksAtOnce(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	e := w.made("a.example.com")
	secrets := make([]string, 16)
	var calls []func() error
	for i := range secrets {
		calls = append(calls, func() (err error) {
			secrets[i], _, err = w.OfferDownload(t.Context(), kim, e.ID, inClear)
			return err
		})
	}
	for _, err := range atOnce(calls...) {
		must(t, err)
	}
	if got := w.serving(secrets); len(got) != ra.NewestLinks {
		t.Errorf("these serve: %v", got)
	}
}

// TestLinksPerHour: an organisation is slowed down, and not another, nor the operator.
func TestLinksPerHour(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	bounded := w.keeping(sealer(t, 1), func(c *ra.Config) { c.Escrow.LinksPerHour = 3 })
	free := w.keeping(sealer(t, 1), func(c *ra.Config) { c.Escrow.LinksPerHour = -1 })
	e := w.made("a.example.com")
	w.Registrar = bounded
	w.offered(e.ID, 3)
	for range 2 {
		_, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
		if p := problem.From(err); p == nil || p.Kind != problem.RateLimited || p.RetryAfter <= 0 || p.RetryAfter > 20*time.Minute {
			t.Errorf("the fourth: %+v", p)
		}
	}
	_, _, err := w.OfferDownload(t.Context(), operator, e.ID, inClear)
	must(t, err)
	_, _, err = free.OfferDownload(t.Context(), kim, e.ID, inClear)
	must(t, err)
	w.clock.add(20 * time.Minute)
	// What is refused takes nothing.
	for range 5 {
		_, _, err := w.OfferDownload(t.Context(), kai, e.ID, inClear)
		wantKind(t, err, problem.Unauthorized)
	}
	w.offered(e.ID, 1)
}

// TestLinkWithPassword: the password that was chosen with the link is the file's, and nobody can read it on its way.
func TestLinkWithPassword(t *testing.T) {
	t.Parallel()
	w := newKeyWorld(t)
	e := w.made("a.example.com")
	const password = "correct horse battery staple"
	secret, d, err := w.OfferDownload(t.Context(), kim, e.ID, ra.Offer{Format: "pkcs12", Password: password})
	must(t, err)
	seen, _, err := w.Linked(t.Context(), secret)
	must(t, err)
	if d.Password != "" || seen.Password != "" || len(seen.Sealed) == 0 || bytes.Contains(seen.Sealed, []byte(password)) {
		t.Errorf("the link has %+v, %+v", d.Offer, seen.Offer)
	}
	mustLack(t, "the store", everything(t, w.dir), []byte(password))
	got := ""
	_, err = w.TakeDownload(t.Context(), secret, "", func(f ra.KeyFile) ([]byte, error) { got = f.Password; return []byte("x"), nil })
	must(t, err)
	if got != password {
		t.Errorf("the file is under %q", got)
	}
	mustLack(t, "the journal", w.journaled(), []byte(password))
	mustLack(t, "the log", w.log.bytes(), []byte(password))
	for name, o := range map[string]ra.Offer{"in clear": {Format: "key", Clear: true, Password: "x"}, "long": {Format: "pkcs12", Password: string(make([]byte, 513))}} {
		if _, _, err := w.OfferDownload(t.Context(), kim, e.ID, o); !problem.Is(err, problem.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A gateway that has another key to seal with cannot open it.
	secret, _, err = w.OfferDownload(t.Context(), kim, e.ID, ra.Offer{Format: "pkcs12", Password: password})
	must(t, err)
	if _, err := w.keeping(sealer(t, 2), nil).TakeDownload(t.Context(), secret, "", file); !problem.Is(err, problem.Unavailable) {
		t.Errorf("by another key: %v", err)
	}
}
